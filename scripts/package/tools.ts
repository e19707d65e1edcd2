import { execFileSync, type ExecFileSyncOptions } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

import type { Processor } from './processor.ts';

export const FORMATS = ['deb', 'rpm', 'tar', 'oci'] as const;
export type Format = (typeof FORMATS)[number];

/** A program that builds something, and Debian's package that has it. */
interface Tool {
  readonly program: string;
  readonly package: string;
}

const OF_FORMAT: Readonly<Record<Format, readonly Tool[]>> = {
  deb: [{ program: 'dpkg-deb', package: 'dpkg' }],
  rpm: [{ program: 'rpmbuild', package: 'rpm' }],
  tar: [{ program: 'tar', package: 'tar' }],
  oci: [
    { program: 'tar', package: 'tar' },
    { program: 'dpkg-deb', package: 'dpkg' },
    { program: 'apt-get', package: 'apt' },
  ],
};

/** Of binutils: the host's own supports no other processor. */
export function stripOf({ cpu, gnu }: Processor): string {
  return cpu === process.arch ? 'strip' : `${gnu}-strip`;
}

/** @throws Error with one line: what is missing, which format needs it, and which Debian package has it */
export function checkTools(formats: readonly Format[], processor: Processor): void {
  const strip = stripOf(processor);
  const binutils: readonly Tool[] = [
    { program: strip, package: strip === 'strip' ? 'binutils' : `binutils-${processor.gnu}` },
    { program: 'readelf', package: 'binutils' },
  ];
  const needed = [...binutils, ...formats.flatMap((format) => OF_FORMAT[format])];
  const missing = needed.filter(({ program }) => !isOnPath(program));
  if (missing.length === 0) return;
  const programs = [...new Set(missing.map(({ program }) => program))].join(', ');
  const packages = [...new Set(missing.map((tool) => tool.package))].join(' ');
  const without = formats.filter((format) => OF_FORMAT[format].every(({ program }) => isOnPath(program)));
  const hint =
    without.length === formats.length || without.length === 0
      ? ''
      : ` (or build without: --only ${without.join(',')})`;
  throw new Error(`missing ${programs}: apt-get install ${packages}${hint}`);
}

/** @throws Error with the tool's own last line */
export function runTool(tool: string, argv: readonly string[], options: ExecFileSyncOptions = {}): void {
  try {
    execFileSync(tool, argv, { stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26, ...options });
  } catch (error) {
    const { stderr, stdout } = error as { readonly stderr?: Buffer; readonly stdout?: Buffer };
    const said = `${stdout?.toString() ?? ''}\n${stderr?.toString() ?? ''}`.trim().split('\n');
    throw new Error(`${tool} failed: ${said.slice(-3).join(' | ')}`, { cause: error });
  }
}

export function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
