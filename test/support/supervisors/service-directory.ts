import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { DataplaneHost } from './dataplane-host.ts';
import { documented, filledIn } from './documented.ts';

/** Changes to documented files by their names, and files to add, for setups that the pages warn of. */
export type Changes = Readonly<Record<string, (text: string) => string>>;

/**
 * Writes the service directory of the pages, `run` and what goes with it, below a scan directory.
 *
 * @param kind whose: the pages call its files `KIND/run` and so on
 * @returns the scan directory and the service's
 */
export function writeService(
  kind: 's6' | 'runit',
  host: DataplaneHost,
  changes: Changes,
): { readonly scanned: string; readonly service: string } {
  const scanned = host.dir.join('services');
  const service = join(scanned, 'kuma-dp');
  mkdirSync(service, { recursive: true });
  for (const name of new Set([...FILES[kind], ...Object.keys(changes)])) {
    const isDocumented = FILES[kind].some((file) => file === name);
    const text = isDocumented ? documented('supervisors.md', `${kind}/${name}`) : '';
    const filled = text.startsWith('#!') ? filledIn(text, host.places) : text;
    writeFileSync(join(service, name), changes[name]?.(filled) ?? filled);
    chmodSync(join(service, name), text.startsWith('#!') ? 0o755 : 0o644);
  }
  return { scanned, service };
}

const FILES = {
  s6: ['run', 'finish', 'timeout-kill', 'timeout-finish'],
  runit: ['run', 'finish'],
} as const;
