import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ServiceManager } from '../../../program/service-manager.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('ServiceManager', () => {
  let clock: FakeClock;
  let sent: { readonly atMs: number; readonly assignments: readonly string[] }[];
  let answers: ((problem: string | undefined) => void)[];
  let abandoned: number;
  let problems: string[];
  let manager: ServiceManager;

  beforeEach(() => {
    clock = new FakeClock();
    sent = [];
    answers = [];
    problems = [];
    abandoned = 0;
    manager = open(undefined);
  });

  afterEach(() => {
    manager.close();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function open(watchdogMs: number | undefined): ServiceManager {
    return new ServiceManager({
      clock,
      watchdogMs,
      onUnheard: (problem) => problems.push(problem),
      send: (assignments) => {
        sent.push({ atMs: clock.monotonicMs(), assignments });
        const { promise, resolve } = Promise.withResolvers<string | undefined>();
        answers.push(resolve);
        return { sent: promise, abandon: () => (abandoned += 1) };
      },
    });
  }

  test('sends nothing in the same moment: its cause goes first', async () => {
    manager.tell({ stopping: true });
    expect(sent).toEqual([]);
    await clock.pass(20);
    expect(sent).toEqual([{ atMs: 20, assignments: ['STOPPING=1'] }]);
  });

  test('sends one message at a time; later ones are merged into one', async () => {
    manager.tell({ status: 'a' });
    await clock.pass(20);
    manager.tell({ ready: true, status: 'b' });
    manager.tell({ status: 'c' });
    await clock.pass(1_000);
    expect(sent).toHaveLength(1);
    answers[0]?.(undefined);
    await clock.settle();
    expect(sent.slice(1)).toEqual([{ atMs: 1_020, assignments: ['READY=1', 'STATUS=c'] }]);
  });

  test('repeats what did not arrive, and logs that once', async () => {
    manager.tell({ ready: true, status: 'a' });
    await clock.pass(20);
    answers[0]?.('no process listens');
    await clock.pass(9_000);
    expect(sent).toHaveLength(1);
    await clock.pass(1_000);
    expect(sent.at(1)?.assignments).toEqual(['READY=1', 'STATUS=a']);
    answers[1]?.('no process listens');
    await clock.pass(10_000);
    expect(sent).toHaveLength(3);
    expect(problems).toEqual(['no process listens']);
  });

  test('says a stop again sooner', async () => {
    manager.tell({ stopping: true });
    await clock.pass(20);
    answers[0]?.('no process listens');
    await clock.pass(1_000);
    expect(sent).toHaveLength(2);
  });

  test('gives a sign of life at half of the limit', async () => {
    manager.close();
    manager = open(1_000);
    for (let second = 0; second < 2; second += 1) {
      await clock.pass(520);
      answers.at(-1)?.(undefined);
    }
    await clock.settle();
    expect(sent.map(({ assignments }) => assignments)).toEqual([['WATCHDOG=1'], ['WATCHDOG=1']]);
    expect(sent.map(({ atMs }) => atMs)).toEqual([520, 1_020]);
  });

  test('waits for no answer at the end', async () => {
    manager.tell({ status: 'a' });
    await clock.pass(20);
    manager.tell({ status: 'b' });
    manager.close();
    expect(abandoned).toBe(1);
    manager.tell({ status: 'c' });
    answers[0]?.(undefined);
    await clock.pass(1_000);
    expect(sent).toHaveLength(1);
  });
});
