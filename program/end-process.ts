import process from 'node:process';

/** How long closed handles may take to end. */
const PATIENCE_MS = 300;

/**
 * Ends this process with an exit code: as soon as nothing is under way any more, at the latest after 300 ms.
 *
 * Left to itself, Node takes down the signal handlers one by one once the loop runs empty, and a signal in that moment
 * would change the exit code.
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
 * `process.exit` waits for the threads that still resolve a name, 5 to 12 s where the name server does not answer
 * (libuv joins its thread pool). Another program in the place of this one waits for nothing.
 */
export function endNow(code: number): never {
  try {
    process.execve?.('/bin/sh', ['sh', '-c', `exit ${code}`], {});
  } catch {
    // There is no shell.
  }
  process.exit(code);
}
