import { readRegularFileSync } from '../../program/regular-file.ts';

/** A wrapper script is short; a longer one does more than start kuma-dp. */
const MAX_SCRIPT_BYTES = 64 * 1024;

/** The text of a script; `undefined` for a program, a long file, and what cannot be read. */
export function readScriptFile(path: string): string | undefined {
  if (!path.includes('/')) return undefined;
  try {
    const text = readRegularFileSync(path, { mostBytes: MAX_SCRIPT_BYTES }).toString('utf8');
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
