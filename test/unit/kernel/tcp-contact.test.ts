import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test, vi } from 'vitest';

import { contact, type Connecting } from '../../../kernel/tcp-contact.ts';
import type { ConnectOutcome } from '../../../kernel/tcp-findings.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const TARGET = { address: '10.0.0.1', port: 80 };
const CONTACTS = 20;

function connecting(outcome: ConnectOutcome): Connecting {
  const settled = outcome === 'no answer' ? new Promise<void>(() => {}) : Promise.resolve();
  return { settled, outcome: () => outcome, close: () => {} };
}

/** @returns how many of the controllers that contacts made are still in memory once the contacts have ended */
async function controllersLeft(outcome: ConnectOutcome): Promise<number> {
  const made: WeakRef<AbortController>[] = [];
  class Counted extends AbortController {
    constructor() {
      super();
      made.push(new WeakRef(this));
    }
  }
  vi.stubGlobal('AbortController', Counted);
  for (let left = CONTACTS; left > 0; left -= 1) {
    const clock = new FakeClock();
    const ended = contact(
      { clock, connect: () => connecting(outcome) },
      TARGET,
      new AbortController().signal,
    );
    await clock.pass(1_000);
    await ended;
  }
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // A weak reference holds what it names until its turn of the event loop has ended.
  await setTimeout(1);
  collect();
  expect(made.length).toBeGreaterThanOrEqual(2 * CONTACTS);
  return made.filter((each) => each.deref() !== undefined).length;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test.for(['accepted', 'no answer', { code: 'ECONNREFUSED' }] as const)(
  'a contact that has ended leaves nothing in memory: %o',
  async (outcome) => {
    expect(await controllersLeft(outcome)).toBeLessThan(CONTACTS);
  },
);
