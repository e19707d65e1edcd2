import { closeSync, openSync, readSync, fstatSync, constants } from 'node:fs';

/** A wrapper script is short; a longer one does more than start kuma-dp. */
const MAX_SCRIPT_BYTES = 64 * 1024;

/** The text of a script; `undefined` for a program, a long file, and what cannot be read. */
export function readScriptFile(path: string): string | undefined {
  if (!path.includes('/')) return undefined;
  try {
    // A FIFO would wait for its other side.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size } = fstatSync(fd);
      if (!fstatSync(fd).isFile() || size > MAX_SCRIPT_BYTES) return undefined;
      const buffer = Buffer.alloc(size);
      const text = buffer.subarray(0, readSync(fd, buffer, 0, size, 0)).toString();
      return text.includes('\0') ? undefined : text;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
