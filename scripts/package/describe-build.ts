import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { VERSION } from '../../kernel/version.ts';
import type { Build } from './contents.ts';
import { debianVersion } from './debian-package.ts';
import { nodeFolder } from './node-folder.ts';
import type { Processor } from './processor.ts';
import { runTool, stripOf } from './tools.ts';

/** The properties that all packages of one run share. */
export function describeBuild(processor: Processor, revision: number, workDir: string): Build {
  const { license } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly license: string };
  return {
    version: VERSION,
    debianVersion: debianVersion(VERSION, revision),
    epoch: sourceDateEpoch(),
    maintainer: maintainer(),
    cpu: processor.cpu,
    settings: 'etc/default',
    nodeFolder: nodeFolder(processor),
    stripped: (path) => stripped(path, { workDir, strip: stripOf(processor) }),
    licence: license,
  };
}

/** Saves 18 MB. It strips a copy: a file in `node_modules/` may be shared with other checkouts. */
function stripped(
  path: string,
  { workDir, strip }: { readonly workDir: string; readonly strip: string },
): string {
  const target = join(workDir, path.replaceAll('/', '_'));
  if (!existsSync(target)) runTool(strip, ['--strip-unneeded', '-o', target, path]);
  return target;
}

/**
 * Seconds since 1970. Without the variable and without git: the time when package.json was changed, which in an
 * archive made by git is the time of the commit.
 *
 * @see https://reproducible-builds.org/specs/source-date-epoch/
 * @throws Error if the variable is no time
 */
function sourceDateEpoch(): number {
  const text =
    process.env['SOURCE_DATE_EPOCH'] ??
    commitTime() ??
    String(Math.floor(statSync('package.json').mtimeMs / 1_000));
  const epoch = Number(text);
  if (!Number.isSafeInteger(epoch) || epoch <= 0)
    throw new Error(`SOURCE_DATE_EPOCH: not a time: "${text.trim()}"`);
  return epoch;
}

function commitTime(): string | undefined {
  try {
    return execFileSync('git', ['log', '-1', '--format=%ct'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
}

/** A reserved domain (RFC 2606): a distributor sets another one. */
const MAINTAINER = { name: 'kuma-dp-agent developers', mail: 'packages@kuma-dp-agent.invalid' };

/** An empty value, as from an unset variable of a workflow, counts as not set. */
function maintainer(): string {
  const { DEBFULLNAME: name, DEBEMAIL: mail } = process.env;
  return `${name === undefined || name === '' ? MAINTAINER.name : name} <${mail === undefined || mail === '' ? MAINTAINER.mail : mail}>`;
}
