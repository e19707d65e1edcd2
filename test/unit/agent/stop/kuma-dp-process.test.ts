import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { KumaDpProcess } from '../../../../agent/stop/kuma-dp-process.ts';
import { FakeChild } from '../../../support/fake-child.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('KumaDpProcess', () => {
  let clock: FakeClock;
  let child: FakeChild;
  let ended: PromiseWithResolvers<undefined>;

  beforeEach(() => {
    clock = new FakeClock();
    child = new FakeChild(clock);
    ended = Promise.withResolvers();
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function kumaDp(isTerminating: () => Promise<boolean> = () => Promise.resolve(false)): KumaDpProcess {
    const readiness = Promise.resolve({ isTerminating });
    return new KumaDpProcess(child, { clock, readiness, ended: ended.promise });
  }

  function sent(): readonly string[] {
    return child.signals.map(({ signal, atMs }) => `${signal} ${atMs}`);
  }

  test('drain and end are one SIGTERM each, never closer than 250 ms', async () => {
    const process = kumaDp();
    void process.tell('drain');
    void process.tell('end');
    await clock.pass(1_000);
    expect(sent()).toEqual(['SIGTERM 0', 'SIGTERM 250']);
  });

  test('nothing waits for the 250 ms to pass once kuma-dp has ended', async () => {
    const process = kumaDp();
    void process.tell('drain');
    void process.tell('end');
    await clock.pass(100);
    ended.resolve(undefined);
    await clock.settle();
    expect(clock.armed).toBe(0);
  });

  test('an end that comes later than that is sent at once', async () => {
    const process = kumaDp();
    void process.tell('drain');
    await clock.pass(600);
    void process.tell('end');
    await clock.settle();
    expect(sent()).toEqual(['SIGTERM 0', 'SIGTERM 600']);
  });

  test('the 250 ms count from the SIGTERM that was sent, not from when it was asked for', async () => {
    const process = kumaDp(
      () =>
        new Promise((resolve) => {
          clock.after(400, () => {
            resolve(false);
          });
        }),
    );
    void process.tell('drain');
    void process.tell('end');
    await clock.pass(1_000);
    expect(sent()).toEqual(['SIGTERM 400', 'SIGTERM 650']);
  });

  test('after a standby an end is one SIGTERM: kuma-dp has drained for SIGUSR2', async () => {
    const process = kumaDp();
    void process.tell('standby');
    void process.tell('end');
    await clock.settle();
    expect(sent()).toEqual(['SIGUSR2 0', 'SIGTERM 0']);
  });

  test('without a drain an end is two SIGTERMs, because the first only drains', async () => {
    void kumaDp().tell('end');
    await clock.pass(250);
    expect(sent()).toEqual(['SIGTERM 0', 'SIGTERM 250']);
  });

  test('told to drain twice, it is signalled once', async () => {
    const process = kumaDp();
    void process.tell('drain');
    await clock.pass(1_000);
    void process.tell('drain');
    await clock.pass(1_000);
    expect(sent()).toEqual(['SIGTERM 0']);
    expect(process.toldAtMs).toBe(0);
  });

  test('a kuma-dp that another process has told to drain is not told again', async () => {
    const process = kumaDp(() => Promise.resolve(true));
    void process.tell('drain');
    await clock.settle();
    expect(sent()).toEqual([]);
    void process.tell('end');
    await clock.settle();
    expect(sent()).toEqual(['SIGTERM 0']);
  });

  test('a kill waits for nothing', async () => {
    const process = kumaDp(() => new Promise(() => {}));
    void process.tell('drain');
    void process.tell('end');
    void process.tell('kill');
    await clock.settle();
    expect(sent()).toEqual(['SIGKILL 0']);
  });

  test('standby is SIGUSR2, and every other signal is passed on as it came', () => {
    const process = kumaDp();
    void process.tell('standby');
    process.forward('SIGQUIT');
    process.forward('SIGUSR1');
    expect(sent()).toEqual(['SIGUSR2 0', 'SIGQUIT 0', 'SIGUSR1 0']);
  });
});
