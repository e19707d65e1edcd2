import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { DataplaneResource, INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { asWished, madeOf, nextObject, readyAs, type Wish } from '../../../kuma/object-wish.ts';
import { portKey, portsOf, portStates, stateOf, type Port } from '../../../kuma/port-states.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

const OWN = { incarnation: 'run-1', address: '10.0.0.1' };

function dataplane(
  inbound: readonly Port[],
  more: { readonly labels?: Record<string, string>; readonly networking?: object } = {},
): DataplaneResource {
  return {
    type: 'Dataplane',
    mesh: 'default',
    name: 'web-1',
    ...(more.labels === undefined ? {} : { labels: more.labels }),
    networking: { address: '10.0.0.1', inbound: [...inbound], ...more.networking },
  };
}

const TEMPLATE = dataplane([{ port: 80 }, { port: 81, state: 'NotReady' }], { labels: { app: 'web' } });
const OURS = { [INCARNATION_LABEL]: 'run-1' };
const MISSING = undefined;
const STANDING = dataplane([{ port: 80 }], { labels: OURS });
const HIDDEN = dataplane([{ port: 80, state: 'NotReady' }], { labels: OURS });
const FOREIGN = dataplane([{ port: 80 }], { labels: { [INCARNATION_LABEL]: 'run-2' } });
const ELSEWHERE = { ...STANDING, labels: {}, networking: { address: '10.0.0.2', inbound: [{ port: 80 }] } };

const withoutState = (each: Port): Port => ({ ...each, state: undefined, health: undefined });

const ABSENT = { state: 'absent' } as const;
const HIDE = { state: 'hidden', takeOver: false } as const;
const TAKE_OVER = { state: 'hidden', takeOver: true } as const;
const READY = { state: 'ready', states: {}, leaveProbed: true } as const;
const LOOK = { state: 'out', states: {} } as const;
const OUT = { state: 'out', states: { ':80': 'Ready' } } as const;

describe('nextObject(): every stored object × every wish', () => {
  test.for<readonly [string, DataplaneResource | undefined, Wish, string]>([
    ['missing', MISSING, ABSENT, 'nothing'],
    ['missing', MISSING, HIDE, 'put'],
    ['missing', MISSING, TAKE_OVER, 'put'],
    ['missing', MISSING, READY, 'put'],
    ['missing', MISSING, LOOK, 'put'],
    ['missing', MISSING, OUT, 'put'],
    ['ready', STANDING, ABSENT, 'delete'],
    ['ready', STANDING, HIDE, 'put'],
    ['ready', STANDING, TAKE_OVER, 'put'],
    ['ready', STANDING, READY, 'nothing'],
    ['ready', STANDING, LOOK, 'nothing'],
    ['ready', STANDING, OUT, 'put'],
    ['hidden', HIDDEN, ABSENT, 'delete'],
    ['hidden', HIDDEN, HIDE, 'nothing'],
    ['hidden', HIDDEN, TAKE_OVER, 'put'],
    ['hidden', HIDDEN, READY, 'put'],
    ['hidden', HIDDEN, LOOK, 'nothing'],
    ['hidden', HIDDEN, OUT, 'nothing'],
    ['of another run', FOREIGN, ABSENT, 'foreign'],
    ['of another run', FOREIGN, HIDE, 'foreign'],
    ['of another run', FOREIGN, TAKE_OVER, 'put'],
    ['of another run', FOREIGN, READY, 'foreign'],
    ['of another run', FOREIGN, LOOK, 'foreign'],
    ['of another run', FOREIGN, OUT, 'foreign'],
    ['at another address', ELSEWHERE, ABSENT, 'foreign'],
    ['at another address', ELSEWHERE, HIDE, 'foreign'],
    ['at another address', ELSEWHERE, TAKE_OVER, 'put'],
    ['at another address', ELSEWHERE, READY, 'foreign'],
    ['at another address', ELSEWHERE, LOOK, 'foreign'],
    ['at another address', ELSEWHERE, OUT, 'foreign'],
  ])('%s, wished %o: %s', ([, stored, wish, next]) => {
    expect(nextObject(stored, { wish, template: TEMPLATE }, OWN).next).toBe(next);
  });

  test.for([HIDE, TAKE_OVER, READY, LOOK, OUT, ABSENT])('without a template %o creates nothing', (wish) => {
    expect(nextObject(undefined, { wish, template: undefined }, OWN)).toEqual({ next: 'nothing' });
  });

  test('a caller that names no run and no address means any object', () => {
    const anyRun = { incarnation: undefined, address: undefined };
    expect(nextObject(FOREIGN, { wish: ABSENT, template: undefined }, anyRun)).toEqual({ next: 'delete' });
  });
});

describe('nextObject(): hidden', () => {
  test('holds every inbound and every listener back, labels the run, and changes nothing else', () => {
    const template = dataplane(
      [
        { port: 80, tags: { a: 'b' } },
        { port: 81, state: 'Ignored' },
      ],
      {
        labels: { app: 'web' },
        networking: {
          outbound: [{ port: 30_001 }],
          listeners: [{ port: 10_001, type: 'ZoneIngress', state: 'Ready' }],
        },
      },
    );
    const before = structuredClone(template);
    expect(nextObject(undefined, { wish: TAKE_OVER, template }, OWN)).toEqual({
      next: 'put',
      resource: {
        type: 'Dataplane',
        mesh: 'default',
        name: 'web-1',
        labels: { app: 'web', [INCARNATION_LABEL]: 'run-1' },
        networking: {
          address: '10.0.0.1',
          inbound: [
            { port: 80, tags: { a: 'b' }, state: 'NotReady' },
            { port: 81, state: 'Ignored' },
          ],
          outbound: [{ port: 30_001 }],
          listeners: [{ port: 10_001, type: 'ZoneIngress', state: 'NotReady' }],
        },
      },
    });
    expect(template).toEqual(before);
  });

  test('a delegated gateway has nothing to hold back', () => {
    const networking = { address: '10.0.0.1', gateway: { type: 'DELEGATED' } };
    const template = { type: 'Dataplane', name: 'gw', networking };
    expect(nextObject(undefined, { wish: HIDE, template }, OWN)).toMatchObject({ resource: { networking } });
    const bare = { type: 'Dataplane', name: 'bare' };
    expect(nextObject(undefined, { wish: HIDE, template: bare }, OWN)).toMatchObject({ next: 'put' });
  });
});

describe('readyAs()', () => {
  test.for<{
    readonly name: string;
    readonly template: Port;
    readonly stored: Port;
    readonly announced: Port;
  }>([
    {
      name: 'an inbound that was held back only for the start becomes Ready',
      template: { port: 80 },
      stored: { port: 80, state: 'NotReady' },
      announced: { port: 80, state: 'Ready' },
    },
    {
      name: 'so does one that the template calls Ready',
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
      name: 'the health that HDS wrote alone is mended: a peer believes the worse of the two',
      template: { port: 80 },
      stored: { port: 80, health: { ready: false } },
      announced: { port: 80, state: 'Ready', health: { ready: true } },
    },
    {
      name: 'an inbound with a service probe waits for its probe',
      template: { port: 80, serviceProbe: { tcp: {} } },
      stored: { port: 80, state: 'NotReady', serviceProbe: { tcp: {} }, health: {} },
      announced: { port: 80, state: 'NotReady', serviceProbe: { tcp: {} }, health: {} },
    },
    {
      name: 'an inbound whose probe has answered already stays as it is',
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
    expect(asWished(dataplane([stored]), readyAs(dataplane([template])))).toEqual(dataplane([announced]));
  });

  test('makes the listeners of Kuma 3 ready, but not one that is held back', () => {
    const listeners = [{ port: 10_001 }, { port: 10_002, state: 'NotReady' }];
    const stored = listeners.map((listener) => ({ ...listener, state: 'NotReady' }));
    const ready = asWished(
      dataplane([], { networking: { listeners: stored } }),
      readyAs(dataplane([], { networking: { listeners } })),
    );
    expect(ready.networking?.listeners).toEqual([
      { port: 10_001, state: 'Ready' },
      { port: 10_002, state: 'NotReady' },
    ]);
  });

  test.for(RECORDED_VERSIONS)('turns the dataplane of %s back that was hidden', (version) => {
    const stored = DataplaneResource.parse(recordedAnswer(version, 'dataplane').body);
    const ready = asWished(asWished(stored, HIDE), readyAs(stored));
    expect(ready.networking?.inbound).toEqual(
      stored.networking?.inbound?.map((inbound) => ({ ...inbound, state: 'Ready' })),
    );
    expect(ready.creationTime).toBe(stored.creationTime);
  });

  test.for(RECORDED_VERSIONS)('makes the inbound of %s ready that HDS took out', (version) => {
    const { dataplane: taken } = recordedAnswer(version, 'overview-draining').body as {
      readonly dataplane: Pick<DataplaneResource, 'networking'>;
    };
    const stored = { type: 'Dataplane', name: 'b2', ...taken };
    expect(portsOf(stored).map((port) => [port.state, port['health']])).toEqual([['NotReady', {}]]);
    const ready = asWished(stored, readyAs(dataplane([{ port: 10_002 }])));
    expect(portsOf(ready).map((port) => [port.state, port['health']])).toEqual([['Ready', { ready: true }]]);
  });
});

describe('out of rotation and back', () => {
  test('nothing is changed while a Ready port is not among the states to go back to', () => {
    const stored = dataplane([{ port: 80 }, { port: 82 }]);
    expect(nextObject(stored, { wish: OUT, template: undefined }, OWN)).toEqual({ next: 'nothing' });
    expect(madeOf(stored, { next: 'nothing' }).states).toEqual({ ':80': 'Ready', ':82': 'Ready' });
    const known = { state: 'out', states: portStates(stored) } as const;
    expect(nextObject(stored, { wish: known, template: undefined }, OWN).next).toBe('put');
    const any = { state: 'out', states: 'any' } as const;
    expect(nextObject(stored, { wish: any, template: undefined }, OWN).next).toBe('put');
  });

  test('each port goes back to the state that was remembered', () => {
    const stored = dataplane([
      { port: 80, state: 'NotReady', health: { ready: false } },
      { port: 81, state: 'NotReady' },
      { port: 82, state: 'NotReady', address: '10.0.0.2' },
    ]);
    const states = { ':80': 'Ready', ':81': 'NotReady' };
    expect(asWished(stored, { state: 'ready', states, leaveProbed: false }).networking?.inbound).toEqual([
      { port: 80, state: 'Ready', health: { ready: true } },
      { port: 81, state: 'NotReady' },
      { port: 82, state: 'Ready', address: '10.0.0.2' },
    ]);
  });

  test('a service probe decides about its own port while health checks are on, and only then', () => {
    const stored = dataplane([{ port: 80, state: 'NotReady', serviceProbe: {} }]);
    expect(asWished(stored, READY)).toBe(stored);
    expect(asWished(stored, { ...READY, leaveProbed: false })).not.toBe(stored);
  });
});

/** Everything that a wish may not change. */
function rest(resource: DataplaneResource): unknown {
  const { networking } = resource;
  return {
    ...resource,
    networking: {
      ...networking,
      inbound: networking?.inbound?.map(withoutState),
      listeners: networking?.listeners?.map(withoutState),
    },
  };
}

describe('nextObject(): properties', () => {
  const port = fc.record(
    {
      port: fc.integer({ min: 80, max: 84 }),
      address: fc.constantFrom('10.0.0.1', '10.0.0.9'),
      state: fc.constantFrom('Ready', 'NotReady', 'Ignored'),
      health: fc.constantFrom({}, { ready: true }, { ready: false }),
      serviceProbe: fc.constant({ tcp: {} }),
      tags: fc.constant({ 'kuma.io/service': 'web' }),
    },
    { requiredKeys: ['port'] },
  );
  const ports = fc.uniqueArray(port, { selector: (each) => portKey(each), maxLength: 4 });
  const object = fc
    .record({ inbound: ports, listeners: ports, label: fc.constantFrom('run-1', 'run-2', undefined) })
    .map(({ inbound, listeners, label }) =>
      dataplane(inbound, {
        labels: label === undefined ? {} : { [INCARNATION_LABEL]: label },
        networking: { listeners },
      }),
    );
  const states = fc.dictionary(
    fc.constantFrom(':80', ':81', ':82', '10.0.0.1:80', '10.0.0.9:84'),
    fc.constantFrom('Ready', 'NotReady', 'Ignored'),
  );
  const wish: fc.Arbitrary<Wish> = fc.oneof(
    fc.constantFrom<Wish>(ABSENT, HIDE, TAKE_OVER),
    fc.record({ state: fc.constant('ready' as const), states, leaveProbed: fc.boolean() }),
    fc.record({ state: fc.constant('out' as const), states: fc.oneof(states, fc.constant('any' as const)) }),
  );
  const given = fc.record({
    stored: fc.option(object, { nil: undefined }),
    template: fc.option(object, { nil: undefined }),
    wish,
  });

  test('applied to its own result it changes nothing', () => {
    fc.assert(
      fc.property(given, ({ stored, template, wish: wished }) => {
        fc.pre(!(wished.state === 'hidden' && wished.takeOver));
        const next = nextObject(stored, { wish: wished, template }, OWN);
        const after = next.next === 'put' ? next.resource : next.next === 'delete' ? undefined : stored;
        const again = nextObject(after, { wish: wished, template }, OWN).next;
        expect(again).toBe(next.next === 'foreign' ? 'foreign' : 'nothing');
      }),
    );
  });

  test('the object of another run is never written, except by a start that takes the name over', () => {
    fc.assert(
      fc.property(given, ({ stored, template, wish: wished }) => {
        fc.pre(stored?.labels?.[INCARNATION_LABEL] === 'run-2');
        const { next } = nextObject(stored, { wish: wished, template }, OWN);
        const takesOver = wished.state === 'hidden' && wished.takeOver && template !== undefined;
        const allowed = wished.state === 'hidden' && wished.takeOver ? ['nothing', 'put'] : ['foreign'];
        expect(takesOver ? 'put' : next).toBe(next);
        expect(allowed).toContain(next);
      }),
    );
  });

  test('a put changes states and health, and nothing else of what is stored', () => {
    fc.assert(
      fc.property(given, ({ stored, wish: wished }) => {
        const next = nextObject(stored, { wish: wished, template: undefined }, OWN);
        const after = next.next === 'put' ? next.resource : stored;
        expect(after && rest(after)).toEqual(stored && rest(stored));
      }),
    );
  });

  test('what is hidden or out has no Ready port', () => {
    fc.assert(
      fc.property(given, ({ stored, template, wish: wished }) => {
        const next = nextObject(stored, { wish: wished, template }, OWN);
        const hidden = next.next === 'put' && wished.state !== 'ready' ? portsOf(next.resource) : [];
        expect(hidden.filter((each) => stateOf(each) === 'Ready')).toEqual([]);
      }),
    );
  });

  test('out and back by the states that were found is what it was, as far as Ready goes', () => {
    fc.assert(
      fc.property(object, (stored) => {
        const out = asWished(stored, { state: 'out', states: portStates(stored) });
        const back = asWished(out, { state: 'ready', states: portStates(stored), leaveProbed: false });
        expect(portStates(back)).toEqual(portStates(stored));
      }),
    );
  });
});
