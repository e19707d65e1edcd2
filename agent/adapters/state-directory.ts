import { readdirSync } from 'node:fs';

/** Whether any run has left a state file here. Cheap: it decides if a start must look closer before kuma-dp runs. */
export function hasStateFiles(folder: string): boolean {
  try {
    return readdirSync(folder).some((name) => name.endsWith('.json'));
  } catch {
    return false;
  }
}
