import { setTimeout as delay } from 'node:timers/promises';

import { openStore } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import { introductionOf } from './store-worlds.ts';

/** The program's output, one JSON line each: that it has the store, that a name is durable, that a call failed. */
export type StoreChildAnswer =
  | { readonly said: 'open' }
  | { readonly said: 'left'; readonly name: string }
  | { readonly said: 'failed'; readonly code: string; readonly message: string };

/**
 * `store-child LOCATION PREFIX`: lets one dataplane after the other leave, eight at a time, until it is killed.
 *
 * It is a program of its own, so that its locks end with it.
 */
async function main([location = '', prefix = '']: readonly string[]): Promise<void> {
  const store = await openStore(location, { clock: systemClock });
  say({ said: 'open' });
  let next = 0;
  const leaveOn = async (): Promise<never> => {
    for (;;) {
      const name = `${prefix}-${(next += 1)}`;
      try {
        await store.leave(introductionOf(name), { replica: prefix, headStartMs: 0 });
        say({ said: 'left', name });
      } catch (error) {
        sayFailure(error);
        await delay(20);
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, leaveOn));
}

function say(what: StoreChildAnswer): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

function sayFailure(error: unknown): void {
  const code = error instanceof OperationalError ? error.code : 'none';
  say({ said: 'failed', code, message: String(error) });
}

if (import.meta.main) main(process.argv.slice(2)).catch(sayFailure);
