import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  judgeConnected,
  judgeOwnership,
  judgeRecreation,
  judgeReturn,
  type OwnDataplane,
  type Recreation,
} from '../../../kuma/ownership.ts';
import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { readOverview, type DataplaneOverview, type Subscription } from '../../../kuma/overview.ts';
import { RECORDED_VERSIONS, recordedAnswer, type RecordedVersion } from '../../support/kuma/recorded.ts';

const OWN: OwnDataplane = { incarnation: 'mine', address: '10.0.0.1' };
const MINE = { [INCARNATION_LABEL]: 'mine' };
const THEIRS = { [INCARNATION_LABEL]: 'theirs' };

const ANOTHER_RUN = { ours: false, reason: 'it carries another incarnation: theirs' } as const;
const ANOTHER_HOST = {
  ours: false,
  reason: 'it has another address: 10.0.0.2 instead of 10.0.0.1',
} as const;

describe('judgeOwnership()', () => {
  test.for<{
    readonly name: string;
    readonly own?: OwnDataplane;
    readonly found: Parameters<typeof judgeOwnership>[1];
    readonly ownership: ReturnType<typeof judgeOwnership>;
  }>([
    {
      name: 'no label, our address',
      found: { networking: { address: '10.0.0.1' } },
      ownership: { ours: true },
    },
    {
      name: 'our label',
      found: { labels: MINE, networking: { address: '10.0.0.1' } },
      ownership: { ours: true },
    },
    { name: 'nothing that would say otherwise', found: {}, ownership: { ours: true } },
    { name: 'labels, but none of an agent', found: { labels: { app: 'web' } }, ownership: { ours: true } },
    { name: "another run's label", found: { labels: THEIRS }, ownership: ANOTHER_RUN },
    {
      name: "another run's label at our address",
      found: { labels: THEIRS, networking: { address: '10.0.0.1' } },
      ownership: ANOTHER_RUN,
    },
    { name: 'another address', found: { networking: { address: '10.0.0.2' } }, ownership: ANOTHER_HOST },
    {
      name: 'our label at another address',
      found: { labels: MINE, networking: { address: '10.0.0.2' } },
      ownership: ANOTHER_HOST,
    },
    {
      name: 'any address, where we know none of our own',
      own: { incarnation: 'mine', address: undefined },
      found: { networking: { address: '10.0.0.2' } },
      ownership: { ours: true },
    },
  ])('$name', ({ own, found, ownership }) => {
    expect(judgeOwnership(own ?? OWN, found)).toEqual(ownership);
  });
});

const CONNECTED = { id: 's1', connectTime: '2026-01-01T00:00:00Z' } satisfies Subscription;
const ENDED = { ...CONNECTED, disconnectTime: '2026-01-01T00:01:00Z' } satisfies Subscription;
const BEFORE_END = '2026-01-01T00:00:59Z';
const AFTER_END = '2026-01-01T00:01:01Z';

function standing(fields: Partial<DataplaneOverview>): DataplaneOverview {
  return {
    mesh: 'default',
    name: 'web-1',
    resource: { type: 'Dataplane', mesh: 'default', name: 'web-1' },
    creationTime: '2026-01-01T00:00:00Z',
    modificationTime: BEFORE_END,
    labels: {},
    networking: { address: '10.0.0.1' },
    subscriptions: [],
    metadata: {},
    ...fields,
  };
}

describe('judgeRecreation()', () => {
  test.for<{ readonly name: string; readonly found: Partial<DataplaneOverview> } & Recreation>([
    {
      name: 'created again by our own stream, which has ended',
      found: { subscriptions: [ENDED] },
      verdict: 'delete',
      reason: 'its last subscription has ended',
    },
    {
      name: 'written at the very moment the stream ended',
      found: { subscriptions: [ENDED], modificationTime: ENDED.disconnectTime },
      verdict: 'delete',
      reason: 'its last subscription has ended',
    },
    {
      name: 'without a time of modification',
      found: { subscriptions: [ENDED], modificationTime: undefined },
      verdict: 'delete',
      reason: 'its last subscription has ended',
    },
    {
      name: 'a dataplane is online',
      found: { subscriptions: [CONNECTED] },
      verdict: 'wait',
      reason: 'a subscription is online',
    },
    {
      name: 'an older run is online still',
      found: { subscriptions: [CONNECTED, { ...ENDED, id: 's2' }] },
      verdict: 'wait',
      reason: 'a subscription is online',
    },
    {
      name: 'a run is online under our own label',
      found: { subscriptions: [CONNECTED], labels: MINE },
      verdict: 'wait',
      reason: 'a subscription is online',
    },
    {
      name: 'no dataplane has connected: another run may be about to',
      found: { subscriptions: [] },
      verdict: 'wait',
      reason: 'nothing has connected to it yet',
    },
    {
      name: 'a subscription that never connected',
      found: { subscriptions: [{ id: 's1' }] },
      verdict: 'wait',
      reason: 'nothing has connected to it yet',
    },
    {
      name: 'no dataplane has connected, but the label is ours',
      found: { subscriptions: [], labels: MINE },
      verdict: 'delete',
      reason: 'it carries our incarnation',
    },
    {
      name: 'written again after its last stream ended',
      found: { subscriptions: [ENDED], modificationTime: AFTER_END },
      verdict: 'wait',
      reason: 'it was written after its last subscription ended',
    },
    {
      name: 'written again after its last stream ended, under our label',
      found: { subscriptions: [ENDED], modificationTime: AFTER_END, labels: MINE },
      verdict: 'delete',
      reason: 'it carries our incarnation',
    },
    {
      name: "another run's, even though no dataplane is connected",
      found: { subscriptions: [ENDED], labels: THEIRS },
      verdict: 'leave',
      reason: 'it carries another incarnation: theirs',
    },
    {
      name: "another host's, even though no dataplane is connected",
      found: { subscriptions: [ENDED], networking: { address: '10.0.0.2' } },
      verdict: 'leave',
      reason: 'it has another address: 10.0.0.2 instead of 10.0.0.1',
    },
  ])('$name: $verdict', ({ found: fields, verdict, reason }) => {
    expect(judgeRecreation(OWN, standing(fields))).toEqual({ verdict, reason });
  });
});

describe('judgeReturn()', () => {
  test.for<
    { readonly name: string; readonly found: Partial<DataplaneOverview> } & Pick<Recreation, 'verdict'>
  >([
    {
      name: 'our own stream is online: the control plane has put it back for that',
      found: { subscriptions: [CONNECTED] },
      verdict: 'delete',
    },
    { name: 'just created, and no stream written down yet', found: { subscriptions: [] }, verdict: 'delete' },
    { name: 'our own stream has ended', found: { subscriptions: [ENDED] }, verdict: 'delete' },
    {
      name: 'a second stream is online: another run may have the name',
      found: { subscriptions: [CONNECTED, CONNECTED] },
      verdict: 'wait',
    },
    {
      name: 'our label, whatever is online',
      found: {
        subscriptions: [CONNECTED, CONNECTED],
        labels: { [INCARNATION_LABEL]: OWN.incarnation ?? '' },
      },
      verdict: 'delete',
    },
    {
      name: 'the label of another run',
      found: { subscriptions: [CONNECTED], labels: { [INCARNATION_LABEL]: 'run-2' } },
      verdict: 'leave',
    },
    {
      name: 'at another address',
      found: { subscriptions: [CONNECTED], networking: { address: '10.9.9.9' } },
      verdict: 'leave',
    },
  ])('$name: $verdict', ({ found, verdict }) => {
    expect(judgeReturn(OWN, standing(found)).verdict).toBe(verdict);
  });
});

function mayBeOurs(
  subscriptions: readonly Subscription[],
  unprovenForMs: number,
  clockMs: number | undefined,
): boolean {
  return judgeConnected(standing({ subscriptions: [...subscriptions] }), { unprovenForMs, clockMs }).ours;
}

describe('judgeConnected()', () => {
  const NOW_MS = Date.parse('2026-11-30T12:00:00Z');
  const since = (agoMs: number): Subscription => ({
    id: 'x',
    connectTime: new Date(NOW_MS - agoMs).toISOString(),
  });
  test.for<readonly [what: string, subscriptions: readonly Subscription[], ours: boolean]>([
    ['no stream', [], true],
    ['a stream of this run', [since(59_000)], true],
    ['a stream of an hour', [since(3_600_000)], false],
    ['a stream that is a little older than this run', [since(62_500)], false],
    ['a stream within what the clock leaves open', [since(61_500)], true],
    [
      'an old stream that has ended',
      [{ ...since(3_600_000), disconnectTime: since(10_000).connectTime }],
      true,
    ],
    ['an old stream beside one of this run', [since(3_600_000), since(1_000)], false],
    ['a stream without a time', [{ id: 'x' }], true],
  ])('%s: may be this run’s: %s', ([, subscriptions, ours]) => {
    expect(mayBeOurs(subscriptions, 60_000, NOW_MS)).toBe(ours);
  });

  test('without the control plane’s clock nothing is proved', () => {
    expect(mayBeOurs([since(3_600_000)], 60_000, undefined)).toBe(true);
  });

  test('a run’s own stream is never another one’s', () => {
    fc.assert(
      fc.property(
        fc.nat(1e9),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(999),
        (forMs, part, cutMs) => {
          expect(mayBeOurs([since(forMs * part)], forMs, NOW_MS - cutMs)).toBe(true);
        },
      ),
    );
  });
});

function recorded(version: RecordedVersion, name: string): DataplaneOverview {
  const overview = readOverview(recordedAnswer(version, name).body);
  if (overview === undefined) throw new TypeError(`${name} of ${version} is not an overview`);
  return overview;
}

describe.for(RECORDED_VERSIONS)('judgeRecreation() of the overviews of %s', (version) => {
  test.for([
    { name: 'overview-online', verdict: 'wait', reason: 'a subscription is online' },
    { name: 'overview-draining', verdict: 'wait', reason: 'a subscription is online' },
    { name: 'overview-offline', verdict: 'delete', reason: 'its last subscription has ended' },
    { name: 'overview-after-undo', verdict: 'wait', reason: 'nothing has connected to it yet' },
  ])('$name: $verdict', ({ name, verdict, reason }) => {
    const own = { incarnation: 'mine', address: '127.0.0.1' };
    expect(judgeRecreation(own, recorded(version, name))).toEqual({ verdict, reason });
  });

  test('an offline one at another address is left', () => {
    expect(judgeRecreation(OWN, recorded(version, 'overview-offline')).verdict).toBe('leave');
  });
});
