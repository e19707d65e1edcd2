import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../../agent/events.ts';
import { Endpoints, type EndpointsDeps } from '../../../../agent/object/endpoints.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { answers, FakeEndpoint, fails, hangs } from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';

describe('Endpoints', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let over: AbortController;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    over = new AbortController();
  });

  afterEach(async () => {
    over.abort(new Error('the test is over'));
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function endpointsOf(endpoints: readonly FakeEndpoint[], deps: Partial<EndpointsDeps> = {}): Endpoints {
    const key = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
    const shared = { clock, events: agentEvents(log), random: () => 0.5 };
    return new Endpoints({ ...shared, endpoints, key, settle: 'auto', ...deps });
  }

  test('keepWarm() looks at each at once and every 20 s, and says what changed, once', async () => {
    const facts = { ...DEFAULT_FACTS, version: '2.14.3', propagationMs: 400 };
    const steady = new FakeEndpoint(clock, 'a', { check: answers(facts) });
    const shaky = new FakeEndpoint(clock, 'b', {
      check: [fails('ENDPOINT_UNREACHABLE'), fails('ENDPOINT_UNREACHABLE'), answers(facts)],
    });
    const endpoints = endpointsOf([steady, shaky]);
    endpoints.keepWarm(over.signal);
    await clock.pass(60_000);
    expect(steady.times('check')).toEqual([0, 20_000, 40_000, 60_000]);
    expect(log.lines.map(({ event, fields }) => `${event} ${String(fields?.['url'])}`)).toEqual([
      'endpoint.reached a',
      'endpoint.lost b',
      'endpoint.reached b',
    ]);
    expect(endpoints.facts).toEqual(facts);
    expect(endpoints.settleMs).toBe(650);
  });

  test('an endpoint that hangs is lost after 5 s, and says nothing when the agent ends', async () => {
    endpointsOf([new FakeEndpoint(clock, 'a', { check: hangs })]).keepWarm(over.signal);
    await clock.pass(5_000);
    expect(log.events).toEqual(['endpoint.lost']);
    await clock.pass(20_000);
    over.abort(new Error('over'));
    await clock.settle();
    expect(log.events).toEqual(['endpoint.lost']);
  });

  test("settles as long as the option says, else by Kuma's defaults until the control plane was asked", () => {
    expect(endpointsOf([]).settleMs).toBe(2_250);
    expect(endpointsOf([], { settle: 700 }).settleMs).toBe(700);
  });

  test('close() closes each', () => {
    const all = [new FakeEndpoint(clock, 'a'), new FakeEndpoint(clock, 'b')];
    endpointsOf(all).close();
    expect(all.map(({ closed }) => closed)).toEqual([true, true]);
  });
});
