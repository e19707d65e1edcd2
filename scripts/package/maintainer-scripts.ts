import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The scripts that dpkg runs (deb-postinst(5) and its like), by name. */
export function maintainerScripts(packageName: string): Readonly<Record<string, string>> {
  const folder = join(import.meta.dirname, 'maintainer-scripts', packageName);
  return Object.fromEntries(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );
}
