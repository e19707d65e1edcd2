import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** Without the time and name that gzip would note down. */
export function gzipFile(from: string, to: string, level: number): void {
  writeFileSync(to, gzipSync(readFileSync(from), { level }));
}
