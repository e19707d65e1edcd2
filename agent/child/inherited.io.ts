import { accessSync, constants, readFileSync } from 'node:fs';
import process from 'node:process';

import { nativeFile } from '../../program/kernel-calls.ts';
import type { StartBytes } from './exact-start.pure.ts';
import { inheritedOf, type Inherited } from './inherited.pure.ts';

/** What this process was started with, by the launcher or without it. */
export const INHERITED: Inherited = inheritedOf(process.env);

/** `undefined` if procfs has no answer: the agent then uses the text that Node decoded. */
export function ownStart(): StartBytes {
  try {
    return { args: texts('/proc/self/cmdline'), env: texts('/proc/self/environ') };
  } catch {
    return { args: [], env: [] };
  }
}

/** The program that starts another from bytes. @returns `undefined` where it cannot be executed */
export function exactStarter(): string | undefined {
  const path = nativeFile('exec-bytes');
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}

/** Texts that end with a NUL each. */
function texts(path: string): readonly Uint8Array[] {
  const whole = readFileSync(path);
  const found: Uint8Array[] = [];
  for (let at = 0; at < whole.length;) {
    const end = whole.indexOf(0, at);
    found.push(whole.subarray(at, end === -1 ? whole.length : end));
    at = end === -1 ? whole.length : end + 1;
  }
  return found;
}
