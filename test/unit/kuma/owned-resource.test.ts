import { describe, expect, test } from 'vitest';

import { asNotReady, asReady, listeningPorts } from '../../../kuma/owned-resource.ts';
import { DataplaneResource, INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../recorded.ts';

type Inbound = NonNullable<NonNullable<DataplaneResource['networking']>['inbound']>[number];

function dataplane(
  inbound: readonly Inbound[],
  more: Readonly<Record<string, unknown>> = {},
): DataplaneResource {
  return {
    type: 'Dataplane',
    mesh: 'default',
    name: 'web-1',
    networking: { address: '10.0.0.1', inbound: [...inbound], ...more },
  };
}

describe('asNotReady()', () => {
  test('holds every inbound and every listener back, labels the run, and changes nothing else', () => {
    const template = {
      ...dataplane(
        [
          { port: 80, tags: { a: 'b' } },
          { port: 81, state: 'Ready' },
        ],
        {
          outbound: [{ port: 30_001 }],
          listeners: [{ port: 10_001, type: 'ZoneIngress', state: 'Ready' }],
        },
      ),
      labels: { app: 'web' },
    };
    expect(asNotReady(template, 'run-1')).toEqual({
      type: 'Dataplane',
      mesh: 'default',
      name: 'web-1',
      labels: { app: 'web', [INCARNATION_LABEL]: 'run-1' },
      networking: {
        address: '10.0.0.1',
        inbound: [
          { port: 80, tags: { a: 'b' }, state: 'NotReady' },
          { port: 81, state: 'NotReady' },
        ],
        outbound: [{ port: 30_001 }],
        listeners: [{ port: 10_001, type: 'ZoneIngress', state: 'NotReady' }],
      },
    });
  });

  test('leaves the template itself as it was', () => {
    const template = dataplane([{ port: 80 }]);
    asNotReady(template, 'run-1');
    expect(template).toEqual(dataplane([{ port: 80 }]));
  });

  test('a delegated gateway has nothing to hold back', () => {
    const gateway: DataplaneResource = {
      type: 'Dataplane',
      name: 'gw',
      networking: { address: '10.0.0.1', gateway: { type: 'DELEGATED' } },
    };
    expect(asNotReady(gateway, 'run-1').networking).toEqual(gateway.networking);
    expect(asNotReady({ type: 'Dataplane', name: 'bare' }, 'run-1').networking).toBeUndefined();
  });
});

describe('asReady()', () => {
  test.for<{
    readonly name: string;
    readonly template: Inbound;
    readonly stored: Inbound;
    readonly announced: Inbound;
  }>([
    {
      name: 'an inbound that was held back only for the start is announced',
      template: { port: 80 },
      stored: { port: 80, state: 'NotReady' },
      announced: { port: 80, state: 'Ready' },
    },
    {
      name: 'so is one that the template calls Ready',
      template: { port: 80, state: 'Ready' },
      stored: { port: 80, state: 'NotReady' },
      announced: { port: 80, state: 'Ready' },
    },
    {
      name: 'the health that HDS wrote beside the state follows it',
      template: { port: 80 },
      stored: { port: 80, state: 'NotReady', health: {} },
      announced: { port: 80, state: 'Ready', health: { ready: true } },
    },
    {
      name: 'an inbound with a service probe waits for its probe',
      template: { port: 80, serviceProbe: { tcp: {} } },
      stored: { port: 80, state: 'NotReady', serviceProbe: { tcp: {} }, health: {} },
      announced: { port: 80, state: 'NotReady', serviceProbe: { tcp: {} }, health: {} },
    },
    {
      name: 'an inbound whose probe has answered already stays announced',
      template: { port: 80, serviceProbe: { tcp: {} } },
      stored: { port: 80, state: 'Ready', serviceProbe: { tcp: {} }, health: { ready: true } },
      announced: { port: 80, state: 'Ready', serviceProbe: { tcp: {} }, health: { ready: true } },
    },
    {
      name: 'an inbound that the template itself holds back stays held back',
      template: { port: 80, state: 'NotReady' },
      stored: { port: 80, state: 'NotReady' },
      announced: { port: 80, state: 'NotReady' },
    },
    {
      name: 'what the control plane added is kept',
      template: { port: 80 },
      stored: { port: 80, state: 'NotReady', tags: { 'kuma.io/zone': 'z1' } },
      announced: { port: 80, state: 'Ready', tags: { 'kuma.io/zone': 'z1' } },
    },
  ])('$name', ({ template, stored, announced }) => {
    expect(asReady(dataplane([stored]), dataplane([template]))).toEqual(dataplane([announced]));
  });

  test('announces the listeners of Kuma 3, but not one that is held back', () => {
    const listeners = [{ port: 10_001 }, { port: 10_002, state: 'NotReady' }];
    const stored = listeners.map((listener) => ({ ...listener, state: 'NotReady' }));
    expect(
      asReady(dataplane([], { listeners: stored }), dataplane([], { listeners })).networking?.listeners,
    ).toEqual([
      { port: 10_001, state: 'Ready' },
      { port: 10_002, state: 'NotReady' },
    ]);
  });

  test('keeps the labels, so that the object says still whose it is', () => {
    const template = dataplane([{ port: 80 }]);
    expect(asReady(asNotReady(template, 'run-1'), template).labels).toEqual({ [INCARNATION_LABEL]: 'run-1' });
  });

  test.for(RECORDED_VERSIONS)('turns what asNotReady() made of the dataplane of %s back', (version) => {
    const stored = DataplaneResource.parse(recordedAnswer(version, 'dataplane').body);
    const announced = asReady(asNotReady(stored, 'run-1'), stored);
    expect(announced.networking?.inbound).toEqual(
      stored.networking?.inbound?.map((inbound) => ({ ...inbound, state: 'Ready' })),
    );
    expect(announced.creationTime).toBe(stored.creationTime);
  });

  test.for(RECORDED_VERSIONS)('announces the inbound of %s that HDS took out', (version) => {
    const { dataplane: taken } = recordedAnswer(version, 'overview-draining').body as {
      readonly dataplane: Pick<DataplaneResource, 'networking'>;
    };
    const stored = { type: 'Dataplane', name: 'b2', ...taken };
    expect(stored.networking?.inbound?.map(({ state, ...rest }) => [state, rest['health']])).toEqual([
      ['NotReady', {}],
    ]);
    const template = dataplane([{ port: 10_002 }]);
    expect(
      asReady(stored, template).networking?.inbound?.map(({ state, ...rest }) => [state, rest['health']]),
    ).toEqual([['Ready', { ready: true }]]);
  });
});

describe('listeningPorts()', () => {
  test('are those of inbounds and listeners, at their own address or the dataplane’s', () => {
    const resource = dataplane([{ port: 80 }, { port: 81, address: '10.0.0.9' }, {}], {
      listeners: [{ port: 10_001 }],
      outbound: [{ port: 30_001 }],
    });
    expect(listeningPorts(resource)).toEqual([
      { address: '10.0.0.1', port: 80 },
      { address: '10.0.0.9', port: 81 },
      { address: '10.0.0.1', port: 10_001 },
    ]);
  });

  test('are none for a gateway', () => {
    expect(listeningPorts({ type: 'Dataplane', name: 'gw', networking: { address: '10.0.0.1' } })).toEqual(
      [],
    );
    expect(listeningPorts({ type: 'Dataplane', name: 'bare' })).toEqual([]);
  });
});
