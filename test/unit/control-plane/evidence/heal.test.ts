import { describe, expect, test } from 'vitest';

import { judgeMissing, type MissingCase } from '../../../../control-plane/evidence/heal.pure.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';
import { AROUND, MINE, THEIRS } from './cases.ts';

function body(fields: Partial<DataplaneResource> = {}): DataplaneResource {
  const networking = { address: '10.0.0.1', inbound: [{ port: 8080 }] };
  return { type: 'Dataplane', mesh: 'default', name: 'web-1', networking, ...fields };
}

const SEEN = body({ labels: { 'kuma.io/zone': 'z1' } });
const BROUGHT = body({ labels: { app: 'web' } });

const CLEAR: MissingCase = {
  record: {
    state: 'attached',
    lostAtMs: undefined,
    owner: 'cp',
    deletable: true,
    phase: 'running',
    incarnation: 'mine',
    address: '10.0.0.1',
  },
  serving: true,
  provenAlive: true,
  absence: { looks: 2, spanMs: 5_000 },
  around: { ...AROUND, steadyMs: 15_000 },
  lastSeen: SEEN,
  brought: BROUGHT,
};

const put = (resource: DataplaneResource): object => ({
  verdict: 'put',
  resource,
  reason: 'its agent runs and its object is gone',
});

function record(fields: Partial<MissingCase['record']>): Partial<MissingCase> {
  return { record: { ...CLEAR.record, ...fields } };
}

function around(fields: Partial<MissingCase['around']>): Partial<MissingCase> {
  return { around: { ...CLEAR.around, ...fields } };
}

describe('judgeMissing()', () => {
  test('the missing object of an attached, running dataplane is put back as it was seen last', () => {
    expect(judgeMissing(CLEAR)).toEqual(put(SEEN));
  });

  test.for<{ readonly name: string; readonly given: Partial<MissingCase>; readonly reason: string }>([
    {
      name: 'it leaves',
      given: record({ state: 'leaving' }),
      reason: 'its agent is not attached: leaving',
    },
    {
      name: 'its agent is lost',
      given: record({ state: 'lost' }),
      reason: 'its agent is not attached: lost',
    },
    { name: 'no agent', given: record({ state: 'swept' }), reason: 'its agent is not attached: swept' },
    {
      name: 'a stream that was lost a moment ago',
      given: record({ lostAtMs: 1 }),
      reason: 'its agent is not attached: attached',
    },
    { name: 'it is external', given: record({ owner: 'external' }), reason: 'an operator applied it' },
    { name: 'not ours', given: record({ deletable: false }), reason: 'its agent would not delete it' },
    { name: 'it starts', given: record({ phase: 'starting' }), reason: 'its agent is not running: starting' },
    { name: 'it drains', given: record({ phase: 'draining' }), reason: 'its agent is not running: draining' },
    { name: 'it is unknown', given: record({ phase: '' }), reason: 'its agent is not running: unknown' },
    { name: 'it does not serve', given: { serving: false }, reason: 'its Envoy does not serve' },
    {
      name: 'a global control plane',
      given: around({ mode: 'global' }),
      reason: 'this is a global control plane',
    },
    {
      name: 'a silent control plane',
      given: around({ silentControlPlanes: 1 }),
      reason: 'not every control plane answers',
    },
    {
      name: 'no control plane',
      given: around({ liveInstances: new Set() }),
      reason: 'not every control plane answers',
    },
    {
      name: 'only just up',
      given: around({ steadyMs: 14_999 }),
      reason: 'the control plane or the companion has just started',
    },
    {
      name: 'one look',
      given: { absence: { looks: 1, spanMs: 60_000 } },
      reason: 'it has not been missing for long enough',
    },
    {
      name: 'two looks at once',
      given: { absence: { looks: 2, spanMs: 4_999 } },
      reason: 'it has not been missing for long enough',
    },
    {
      name: 'nothing to put',
      given: { lastSeen: undefined, brought: undefined },
      reason: 'there is no body to put back',
    },
  ])('$name: it is left', ({ given, reason }) => {
    expect(judgeMissing({ ...CLEAR, ...given })).toEqual({ verdict: 'leave', reason });
  });

  test.for([
    { name: 'zone', mode: 'zone' },
    { name: 'standalone', mode: 'standalone' },
    { name: 'unknown', mode: undefined },
  ])('a control plane of mode $name is the right one', ({ mode }) => {
    expect(judgeMissing({ ...CLEAR, ...around({ mode }) })).toEqual(put(SEEN));
  });
});

describe('the body that is put back', () => {
  test.for<{
    readonly name: string;
    readonly lastSeen: DataplaneResource | undefined;
    readonly resource: DataplaneResource;
  }>([
    { name: 'nothing was seen', lastSeen: undefined, resource: BROUGHT },
    { name: 'another incarnation’s was seen', lastSeen: body({ labels: THEIRS }), resource: BROUGHT },
    {
      name: 'another host’s was seen',
      lastSeen: body({ networking: { address: '1.2.3.4' } }),
      resource: BROUGHT,
    },
  ])('$name', ({ lastSeen, resource }) => {
    expect(judgeMissing({ ...CLEAR, lastSeen })).toEqual(put(resource));
  });

  test('an agent’s own is labelled and ready again, but for what its template holds back', () => {
    const networking = {
      address: '10.0.0.1',
      inbound: [
        { port: 8080, state: 'NotReady' },
        { port: 9090, state: 'NotReady' },
      ],
    };
    const brought = body({
      networking: { ...networking, inbound: [{ port: 8080 }, { port: 9090, state: 'NotReady' }] },
    });
    const own = record({ owner: 'agent' });
    expect(judgeMissing({ ...CLEAR, ...own, brought, lastSeen: body({ networking }) })).toEqual(
      put(
        body({
          labels: MINE,
          networking: {
            ...networking,
            inbound: [
              { port: 8080, state: 'Ready' },
              { port: 9090, state: 'NotReady' },
            ],
          },
        }),
      ),
    );
  });

  test.for<readonly [what: string, given: Partial<MissingCase>, labels: Readonly<Record<string, string>>]>([
    ['that brought nothing is put back as it was seen', { brought: undefined }, { 'kuma.io/zone': 'z1' }],
    ['that was never seen is put back as it was brought', { lastSeen: undefined }, { app: 'web' }],
  ])('an agent’s own %s, with the state of each port', ([, given, labels]) => {
    const networking = { address: '10.0.0.1', inbound: [{ port: 8080, state: 'Ready' }] };
    expect(judgeMissing({ ...CLEAR, ...record({ owner: 'agent' }), ...given })).toEqual(
      put(body({ labels: { ...labels, ...MINE }, networking })),
    );
  });
});
