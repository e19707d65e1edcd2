import { opendirSync } from 'node:fs';
import { join } from 'node:path';

/** Far more than runs leave: another user's files in the folder must not make a start or a stop endless. */
const MOST_ENTRIES = 4_096;

/**
 * The state files that runs have left in a folder. This is cheap: it decides whether a start must look closer before
 * kuma-dp runs.
 *
 * @returns `undefined` if this is not a folder that can be read
 */
export function listStateFiles(folder: string, mostEntries = MOST_ENTRIES): readonly string[] | undefined {
  try {
    const names: string[] = [];
    const entries = opendirSync(folder);
    try {
      for (let seen = 0; seen < mostEntries; seen += 1) {
        const entry = entries.readSync();
        if (entry === null) break;
        if (entry.name.endsWith('.json')) names.push(entry.name);
      }
    } finally {
      entries.closeSync();
    }
    return names.map((name) => join(folder, name));
  } catch {
    return undefined;
  }
}
