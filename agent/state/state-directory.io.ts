import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The state files that runs have left in a folder. Cheap: it decides if a start must look closer before kuma-dp runs.
 *
 * @returns `undefined` if this is not a folder that can be read
 */
export function listStateFiles(folder: string): readonly string[] | undefined {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name));
  } catch {
    return undefined;
  }
}
