import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /**
   * Names the awaited state for the error: `endpoint 127.0.0.1:10001 to leave`. A function is called when the time is
   * up.
   */
  readonly what: string | (() => string);
  readonly budgetMs?: number;
  readonly pollMs?: number;
}

/**
 * Asks repeatedly until the answer is neither `undefined` nor `false`.
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
