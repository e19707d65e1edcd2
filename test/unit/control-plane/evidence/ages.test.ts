import { expect, test } from 'vitest';

import { ControlPlaneClock } from '../../../../control-plane/evidence/control-plane-clock.ts';
import { LookLog } from '../../../../control-plane/evidence/look-log.ts';
import { Presence } from '../../../../control-plane/evidence/presence.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { shown } from './cases.ts';

const DEPARTURE = {
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  epoch: 1,
  state: 'lost',
  sinceMs: 0,
} as const;

/** A process that watches for a minute. */
async function watching(): Promise<{ clock: FakeClock; presence: Presence; stop: () => Promise<void> }> {
  const clock = new FakeClock();
  const presence = new Presence(clock);
  const over = new AbortController();
  const running = presence.run(over.signal);
  const stop = async (): Promise<void> => {
    over.abort(new Error('The test ends'));
    await running;
    expect(clock.armed).toBe(0);
  };
  await clock.pass(60_000);
  return { clock, presence, stop };
}

test('a watch without a break goes on since its begin', async () => {
  const { presence, stop } = await watching();
  expect(presence.unbrokenMs).toBe(60_000);
  await stop();
});

test.for([
  {
    name: 'a process that was stopped',
    pause: (clock: FakeClock) => {
      clock.skip(20_000);
    },
  },
  {
    name: 'a machine that was suspended: the monotonic clock stood still',
    pause: (clock: FakeClock) => {
      clock.wallJumpMs += 20_000;
    },
  },
])('$name watches anew, whichever part asks first', async ({ pause }) => {
  const { clock, presence, stop } = await watching();
  const looks = new LookLog(clock, presence);
  looks.note(shown());
  await clock.pass(30_000);
  expect(looks.note(shown())).toBe(30_000);
  pause(clock);
  expect([looks.note(shown()), presence.unbrokenMs]).toEqual([0, 0]);
  await clock.pass(7_000);
  expect([looks.note(shown()), presence.unbrokenMs]).toEqual([7_000, 7_000]);
  await stop();
});

test('a busy moment is no break', async () => {
  const { clock, presence, stop } = await watching();
  clock.skip(3_500);
  expect(presence.unbrokenMs).toBe(63_500);
  await stop();
});

test.for([
  { gapMs: 1_500, lateMs: 0 },
  { gapMs: 3_500, lateMs: 3_500 },
  { gapMs: 60_000, lateMs: 60_000 },
])(
  'after a gap of $gapMs ms, calls may be $lateMs ms late until the backlog is read',
  async ({ gapMs, lateMs }) => {
    const { clock, presence, stop } = await watching();
    expect(presence.lateMs).toBe(0);
    const readMs = clock.monotonicMs();
    clock.skip(gapMs);
    expect([presence.lateMs, presence.freshMs > readMs]).toEqual([lateMs, lateMs > 0]);
    await clock.pass(1_400);
    expect(presence.lateMs).toBe(lateMs);
    await clock.pass(200);
    expect([presence.lateMs, presence.freshMs > clock.monotonicMs()]).toEqual([0, false]);
    await stop();
  },
);

test('a gap in the backlog of another one adds to it', async () => {
  const { clock, presence, stop } = await watching();
  clock.skip(10_000);
  expect(presence.lateMs).toBe(10_000);
  clock.skip(4_000);
  expect(presence.lateMs).toBe(14_000);
  await stop();
});

test("the object's state from before its stream was lost is no evidence of the time since", async () => {
  const clock = new FakeClock();
  const looks = new LookLog(clock, new Presence(clock));
  looks.note(shown());
  await clock.pass(60_000);
  expect([looks.note(shown()), looks.note(shown(), DEPARTURE)]).toEqual([60_000, 0]);
  await clock.pass(5_000);
  expect(looks.note(shown(), DEPARTURE)).toBe(5_000);
  expect(looks.note(shown(), { ...DEPARTURE, epoch: 2 })).toBe(0);
  looks.prune();
  expect(looks.size).toBe(1);
});

test('the clock of the control plane is steady until it is set ahead, and counts from then on', async () => {
  const clock = new FakeClock();
  const theirs = new ControlPlaneClock(clock);
  const answer = (aheadMs: number): void => {
    theirs.note(Math.floor((clock.wallMs() + aheadMs) / 1_000) * 1_000);
  };
  for (let at = 0; at < 10; at += 1) {
    answer(0);
    await clock.pass(1_777);
  }
  theirs.note(undefined);
  // Under way for 9 s.
  answer(-9_000);
  await clock.pass(2_000);
  answer(0);
  expect(theirs.steadyMs).toBe(Number.POSITIVE_INFINITY);
  answer(-3_600_000);
  expect(theirs.steadyMs).toBe(Number.POSITIVE_INFINITY);
  await clock.pass(10_000);
  answer(0);
  await clock.pass(4_000);
  answer(0);
  expect(theirs.steadyMs).toBe(4_000);
});
