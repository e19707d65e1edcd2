import { readFileSync } from 'node:fs';

import { prebuilt } from './native-programs.ts';

/**
 * Only options that keep Node's own compiled code valid: one that changes code generation costs 15 ms of each start.
 */
const NODE_FLAGS = [
  // By default Node loads its own roots at the start, 1 MB that an operator who names a CA does not need. The agent
  // loads them, and the host's, when they are needed (`program/known-roots.ts`).
  '--use-openssl-ca',
] as const;

/**
 * The size of V8's space for young objects, in MB. The agent has few of them, so a small space saves 0.6 MB. A
 * companion that takes ten thousand agents back has many: with 1 MB, garbage collection takes 11 to 26 % of its time.
 */
const NURSERY_MB: Readonly<Record<string, number>> = { 'kuma-deregistrar': 16 };

/** Where the settings of `native/launch.c` begin, and how much room they have. */
const PLACEHOLDER = Buffer.from('@@LAUNCHER-SETTINGS@@');
const ROOM = 1_024;

export interface LauncherPlace {
  readonly name: string;
  /** As Node calls it. */
  readonly cpu: string;
  /**
   * Relative to the folder above the launcher's own. The launcher takes the first that it can execute, else the one
   * on `PATH`.
   */
  readonly nodes: readonly string[];
  /** Relative to the same folder. */
  readonly main: string;
}

/**
 * The content of `/usr/bin/NAME` and `dist/bin/NAME`: `native/launch.c` with the settings of one program. It replaces
 * itself by Node, so the started process (systemd's MainPID) is the program.
 *
 * @throws Error if the settings are longer than their place
 */
export function launcher({ name, cpu, nodes, main }: LauncherPlace): Buffer {
  const program = readFileSync(new URL(`../native/prebuilt/${prebuilt('launch', cpu)}`, import.meta.url));
  const settings = Buffer.from(
    [name, ...nodes, '', ...NODE_FLAGS, nurseryFlag(name), '', main, ''].join('\0'),
  );
  const at = program.indexOf(PLACEHOLDER);
  if (at === -1 || settings.length > ROOM) throw new Error(`Cannot write the launcher of ${name}`);
  program.fill(0, at, at + ROOM);
  settings.copy(program, at);
  return program;
}

function nurseryFlag(name: string): string {
  return `--max-semi-space-size=${NURSERY_MB[name] ?? 1}`;
}

/**
 * The program's `main.js`: the only file that an old Node reads, so it uses only old syntax. It names the process,
 * which Node calls `MainThread`, and loads the bundle.
 */
export function entryModule(name: string): string {
  return `'use strict';
var fs = require('fs');
if (parseInt(process.versions.node, 10) < 24) {
  fs.writeSync(2, '${name}: Cannot start: it needs Node.js 24 or later, and ' + process.execPath + ' is ' + process.version +
    '. Install Node.js 24 or later (nodejs.org/en/download), or a package of this program: it brings its own\\n');
  process.exit(78);
}
try {
  // The kernel keeps 15 characters.
  fs.writeFileSync('/proc/self/comm', '${name}');
} catch (error) {
  // Without /proc it keeps the name that Node gave it.
}
require('./program.js');
`;
}
