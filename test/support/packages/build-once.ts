import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { buildPackages } from './build-packages.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder with every artefact, of revision 1. */
    readonly packageFolder: string;
    /** The same for the processor that this machine does not have. */
    readonly foreignFolder: string;
  }
}

/** Once for all files. */
export function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'kuma-packages-'));
  const foreign = mkdtempSync(join(tmpdir(), 'kuma-foreign-'));
  buildPackages({ out: folder, formats: 'all' });
  buildPackages({ out: foreign, formats: 'all', cpu: process.arch === 'x64' ? 'arm64' : 'x64' });
  project.provide('packageFolder', folder);
  project.provide('foreignFolder', foreign);
  return () => {
    for (const each of [folder, foreign]) rmSync(each, { recursive: true, force: true });
  };
}
