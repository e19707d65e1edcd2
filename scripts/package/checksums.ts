import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'SHA256SUMS';

/** Lists everything in the folder, as `sha256sum --check` reads it. */
export function writeChecksums(folder: string): string {
  const lines = readdirSync(folder)
    .filter((name) => name !== FILE)
    .toSorted()
    .map(
      (name) =>
        `${createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex')}  ${name}\n`,
    );
  const target = join(folder, FILE);
  writeFileSync(target, lines.join(''));
  return target;
}
