import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { Presence } from '../../../../control-plane/evidence/presence.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('how well this process keeps up', () => {
  let clock: FakeClock;
  let busy: number;
  let presence: Presence;
  let over: AbortController;
  let ended: Promise<void>;

  beforeEach(async () => {
    clock = new FakeClock();
    busy = 0;
    presence = new Presence(clock, () => busy);
    over = new AbortController();
    ended = presence.run(over.signal);
    await clock.settle();
  });

  afterEach(async () => {
    over.abort(new Error('The test ends'));
    await ended;
    expect(clock.armed).toBe(0);
  });

  test('while idle, it owes its agents no time', async () => {
    await clock.pass(60_000);
    expect({ busyMs: presence.busyMs, hadBreak: presence.hadBreak }).toEqual({ busyMs: 0, hadBreak: false });
  });

  test('while it is busy, it owes them all of the time, and is not late for that', async () => {
    busy = 0.9;
    await clock.pass(10_000);
    busy = 0.5;
    await clock.pass(10_000);
    expect({ busyMs: presence.busyMs, hadBreak: presence.hadBreak }).toEqual({
      busyMs: 10_000,
      hadBreak: false,
    });
  });

  test('a turn that takes 5 s is late at once, before any timer has fired, and for 15 s', async () => {
    clock.skip(5_000);
    expect(presence.hadBreak).toBe(true);
    await clock.pass(14_000);
    expect(presence.hadBreak).toBe(true);
    await clock.pass(2_000);
    expect(presence.hadBreak).toBe(false);
  });

  test('a turn of 6 s is late although the process was asked for its age all the time', () => {
    for (let askedMs = 0; askedMs < 6_000; askedMs += 500) {
      clock.skip(500);
      void presence.freshMs;
    }
    expect(presence.hadBreak).toBe(true);
  });

  test('what a stop of the process took is owed, however little it had to do', async () => {
    clock.skip(20_000);
    await clock.pass(2_000);
    expect(presence.busyMs).toBe(19_000);
  });

  test('a machine that was suspended has lost nothing of its own time', async () => {
    await clock.pass(10_000);
    clock.wallJumpMs += 60_000;
    expect({ busyMs: presence.busyMs, hadBreak: presence.hadBreak }).toEqual({ busyMs: 0, hadBreak: false });
  });

  test('after its end no silence of its own is late', async () => {
    over.abort(new Error('Cancelled: the companion stops'));
    await ended;
    clock.advance(60_000);
    expect(presence.hadBreak).toBe(false);
  });
});
