import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { OwnPace } from '../../../../control-plane/agents/own-pace.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('how well this process keeps up', () => {
  let clock: FakeClock;
  let busy: number;
  let pace: OwnPace;
  let over: AbortController;
  let ended: Promise<void>;

  beforeEach(async () => {
    clock = new FakeClock();
    busy = 0;
    pace = new OwnPace({ clock, busyShare: () => busy });
    over = new AbortController();
    ended = pace.run(over.signal);
    await clock.settle();
  });

  afterEach(async () => {
    over.abort(new Error('The test ends'));
    await ended;
    expect(clock.armed).toBe(0);
  });

  test('while idle, it owes its agents no time', async () => {
    await clock.pass(60_000);
    expect({ busyMs: pace.busyMs, wasLate: pace.wasLate }).toEqual({ busyMs: 0, wasLate: false });
  });

  test('while it is busy, it owes them all of the time, and is not late for that', async () => {
    busy = 0.9;
    await clock.pass(10_000);
    busy = 0.5;
    await clock.pass(10_000);
    expect({ busyMs: pace.busyMs, wasLate: pace.wasLate }).toEqual({ busyMs: 10_000, wasLate: false });
  });

  test('a turn that takes 5 s is late at once, before any timer has fired, and for 15 s', async () => {
    clock.skip(5_000);
    expect(pace.wasLate).toBe(true);
    await clock.pass(14_000);
    expect(pace.wasLate).toBe(true);
    await clock.pass(2_000);
    expect(pace.wasLate).toBe(false);
  });

  test('what a stop of the process took is owed, however little it had to do', async () => {
    clock.skip(20_000);
    await clock.pass(2_000);
    expect(pace.busyMs).toBe(19_000);
  });

  test('after its end no silence of its own is late', async () => {
    over.abort(new Error('The companion stops'));
    await ended;
    clock.advance(60_000);
    expect(pace.wasLate).toBe(false);
  });
});
