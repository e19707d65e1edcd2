import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

import { buildPackages } from './build-packages.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A folder with both packages, of revision 1. */
    readonly packageFolder: string;
  }
}

/** Once for all files. */
export function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'kuma-packages-'));
  buildPackages({ out: folder });
  project.provide('packageFolder', folder);
  return () => {
    rmSync(folder, { recursive: true, force: true });
  };
}
