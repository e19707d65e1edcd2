import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Processor } from './processor.ts';
import { runTool } from './tools.ts';

const CACHE = '.cache/node';

/**
 * The folder of the npm package with the pinned Node of a processor. npm installs only this machine's; this script
 * fetches another one by the lockfile.
 *
 * @throws Error if it cannot be fetched, or does not match the lockfile
 */
export function nodeFolder({ cpu }: Processor): string {
  const name = `node-linux-${cpu}`;
  const installed = join('node_modules', name);
  if (existsSync(join(installed, 'bin/node'))) return installed;
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity: string }>>;
  };
  const locked = packages[installed];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  const folder = join(CACHE, `${name}-${locked.version}`);
  if (existsSync(join(folder, 'bin/node'))) return folder;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  runTool('npm', ['pack', `${name}@${locked.version}`, '--silent', '--pack-destination', part]);
  const [file = ''] = readdirSync(part);
  const digest = createHash('sha512')
    .update(readFileSync(join(part, file)))
    .digest('base64');
  if (`sha512-${digest}` !== locked.integrity) throw new Error(`${file} is not what package-lock.json names`);
  runTool('tar', ['-xzf', join(part, file), '-C', part]);
  renameSync(join(part, 'package'), folder);
  rmSync(part, { recursive: true });
  return folder;
}
