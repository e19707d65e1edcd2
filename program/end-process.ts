import { accessSync, constants } from 'node:fs';
import process from 'node:process';

/** How long closed handles may take to end. */
const PATIENCE_MS = 300;

/**
 * Ends this process with an exit code as soon as nothing is in progress, at the latest after 300 ms. When its loop runs
 * empty, Node by itself removes the signal handlers one by one, and a signal in that moment would change the exit code.
 */
export function endWith(code: number): void {
  process.exitCode = code;
  process.once('beforeExit', () => process.exit());
  // oxlint-disable-next-line no-restricted-globals -- one that keeps no process alive
  setTimeout(() => {
    endNow(code);
  }, PATIENCE_MS).unref();
}

/**
 * `process.exit` waits for the threads that still resolve a name: 5 to 12 s if the name server does not answer (libuv
 * joins its thread pool). Another program in place of this one does not wait: a shell, which is small, or Node itself in
 * an image without a shell.
 */
export function endNow(code: number): never {
  replaceBy('/bin/sh', ['sh', '-c', `exit ${code}`]);
  replaceBy(process.execPath, ['node', '--eval', `process.exit(${code})`]);
  process.exit(code);
}

/** Returns if that program may not be executed: an `execve` that fails aborts the process. */
function replaceBy(program: string, argv: readonly string[]): void {
  try {
    accessSync(program, constants.X_OK);
    process.execve?.(program, argv, {});
  } catch {
    // There is no such program.
  }
}
