import { readFile } from 'node:fs/promises';

import { readDescriptorLimit } from './descriptors.pure.ts';

/** @returns how many files this process may open; `undefined` where the kernel does not say */
export async function descriptorLimit(): Promise<number | undefined> {
  return readDescriptorLimit(await readFile('/proc/self/limits', 'utf8').catch(() => ''));
}
