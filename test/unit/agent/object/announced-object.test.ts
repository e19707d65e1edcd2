import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { AnnouncedObject } from '../../../../agent/object/announced-object.ts';
import { agentEvents } from '../../../../agent/events.ts';
import { Registration } from '../../../../agent/object/registration.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { answers, answersLate, FakeEndpoint, fails } from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const TEMPLATE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };

describe('AnnouncedObject', () => {
  const there = answers({ found: true, changed: false, states: {} });
  const missing = answers({ found: false, changed: false, states: {} });
  let clock: FakeClock;
  let log: FakeLog;
  let over: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    over = new AbortController();
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function keep(replies: ConstructorParameters<typeof FakeEndpoint>[2]): {
    readonly endpoint: FakeEndpoint;
    readonly registration: Registration;
    readonly object: AnnouncedObject;
  } {
    const endpoint = new FakeEndpoint(clock, 'a', replies);
    const shared = { clock, random: () => 0.5, events: agentEvents(log) };
    const registration = new Registration({
      ...shared,
      endpoints: [endpoint],
      departure: {
        key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
        own: { incarnation: 'run-1', address: '10.0.0.1' },
      },
      mayDelete: true,
      settle: 'auto',
    });
    const object = new AnnouncedObject({ ...shared, registration, template: TEMPLATE, over: over.signal });
    return { endpoint, registration, object };
  }

  test('looks every other second, and changes nothing that is there', async () => {
    const { endpoint, object } = keep({ rotate: there });
    await clock.pass(7_000);
    await object.onServing();
    expect(endpoint.times('rotate')).toEqual([2_000, 4_000, 6_000]);
    expect(endpoint.orders).toEqual([{ turn: 'look' }, { turn: 'look' }, { turn: 'look' }]);
    expect(endpoint.announced).toEqual([]);
    expect(log.events).toEqual([]);
  });

  test('puts it again where it has gone, and says so', async () => {
    const { endpoint, object } = keep({ rotate: [there, missing, there] });
    await clock.pass(7_000);
    await object.onServing();
    expect(endpoint.times('announce')).toEqual([4_000]);
    expect(endpoint.announced).toEqual([TEMPLATE]);
    expect(log.events).toEqual(['dataplane.announced-again']);
  });

  test("somebody else's is left alone, and what fails is looked at again", async () => {
    const { endpoint, object } = keep({
      rotate: [fails('DATAPLANE_FOREIGN'), missing, missing, there],
      announce: [fails('ENDPOINT_REJECTED'), () => Promise.resolve()],
    });
    await clock.pass(9_000);
    await object.onServing();
    expect(endpoint.times('announce')).toEqual([4_000, 6_000]);
    expect(log.events).toEqual(['dataplane.announced-again']);
  });

  test('ends with what it waits for, and not before its PUT has', async () => {
    const { endpoint, object } = keep({ rotate: missing, announce: answersLate(clock, 300, undefined) });
    let ended = false;
    await clock.pass(2_100);
    void object.onServing().then(() => {
      ended = true;
    });
    await clock.pass(100);
    expect(ended).toBe(false);
    await clock.pass(100);
    expect(ended).toBe(true);
    expect(endpoint.times('rotate')).toEqual([2_000]);
  });

  test('a deregistration waits for its PUT, which would create the object again', async () => {
    const { endpoint, registration, object } = keep({
      rotate: missing,
      announce: answersLate(clock, 300, undefined),
    });
    await clock.pass(2_100);
    over.abort(new Error('A stop has begun'));
    const deregistered = registration.deregister(clock.monotonicMs() + 5_000);
    await clock.pass(1_000);
    expect(await deregistered).toMatchObject({ outcome: 'gone' });
    expect(endpoint.times('deregister')).toEqual([2_300]);
    await object.onServing();
  });
});
