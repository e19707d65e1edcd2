import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { envoyBinary } from '../../../scripts/install-envoy.ts';
import { installInto } from './installed-layer.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder that is laid over a booted host's root: what is installed there. */
    readonly layer: string;
  }
}

/** Once for all files: what every booted host has installed. */
export async function setup(project: TestProject): Promise<() => void> {
  // From within, where nothing may be written, it could not be.
  await envoyBinary();
  const layer = mkdtempSync(join(tmpdir(), 'kuma-layer-'));
  installInto(layer);
  project.provide('layer', layer);
  return () => {
    rmSync(layer, { recursive: true, force: true });
  };
}
