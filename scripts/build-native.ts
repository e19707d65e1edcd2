/**
 * Compiles the programs in `native/` into `native/prebuilt/`, for both processors. Only contributors who change a
 * source need this, and the compilers: `apt-get install gcc gcc-x86-64-linux-gnu gcc-aarch64-linux-gnu` of Debian 12.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { COMPILERS, NATIVE_PROGRAMS, prebuilt } from './native-programs.ts';

const FLAGS = [
  '-std=c11',
  '-Os',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-ffreestanding',
  '-fno-stack-protector',
  '-fno-asynchronous-unwind-tables',
  '-fno-ident',
  '-nostdlib',
  '-s',
  '-Wl,--build-id=none',
  '-Wl,-z,noexecstack',
  '-Wl,-z,noseparate-code',
] as const;

/** The last one is loaded by Node, and finds Node's functions there. */
const KIND_FLAGS = {
  launch: ['-static'],
  'exec-bytes': ['-static'],
  'kernel-calls': ['-shared', '-fPIC', '-fvisibility=hidden', '-Wl,-z,relro,-z,now'],
} as const;

const [target = 'native/prebuilt'] = process.argv.slice(2);
mkdirSync(target, { recursive: true });
for (const program of NATIVE_PROGRAMS)
  for (const [cpu, compiler] of Object.entries(COMPILERS)) {
    const made = join(target, prebuilt(program, cpu));
    execFileSync(compiler, [...FLAGS, ...KIND_FLAGS[program], '-o', made, `native/${program}.c`], {
      stdio: 'inherit',
    });
    if (program === 'kernel-calls') chmodSync(made, 0o644);
  }
