import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /** Names what is awaited, for the error: `endpoint 127.0.0.1:10001 to leave`. A function is asked when it is too late. */
  readonly what: string | (() => string);
  readonly budgetMs?: number;
  readonly pollMs?: number;
}

/**
 * Asks again and again until the answer is neither `undefined` nor `false`.
 *
 * @throws Error when the budget is spent, with the last error that `ask` threw as its cause
 */
export async function waitUntil<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  options: WaitOptions,
): Promise<T> {
  const { what, budgetMs = 20_000, pollMs = 10 } = options;
  const expiresAt = performance.now() + budgetMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > expiresAt)
      throw new Error(`Waited ${budgetMs} ms in vain for ${typeof what === 'string' ? what : what()}`, {
        cause,
      });
    await delay(pollMs);
  }
}
