import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { envoyBinary } from '../../../scripts/install-envoy.ts';
import { buildPackages } from '../packages/build-packages.ts';
import { extractInto, kumaDpInto } from './installed-layer.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder that is laid over a booted host's root: our packages are installed there, and a kuma-dp. */
    readonly layer: string;
    /** The same without our packages. */
    readonly bareLayer: string;
    /** Where the packages are, inside of a booted host. */
    readonly packages: string;
  }
}

/** Runs once for all test files: the software that every booted host has installed. */
export async function setup(project: TestProject): Promise<() => void> {
  // Inside a booted host, where nothing may be written, it could not be installed.
  await envoyBinary();
  const folder = mkdtempSync(join(tmpdir(), 'kuma-installed-'));
  const layer = join(folder, 'layer');
  const bareLayer = join(folder, 'bare');
  const packages = join(bareLayer, 'packages');
  for (const each of [layer, bareLayer]) kumaDpInto(each);
  buildPackages({ out: packages });
  extractInto(layer, packages);
  project.provide('layer', layer);
  project.provide('bareLayer', bareLayer);
  project.provide('packages', '/packages');
  return () => {
    rmSync(folder, { recursive: true, force: true });
  };
}
