import { describe, expect, test } from 'vitest';

import {
  findOffline,
  type SweepFinding,
  type SweepView,
} from '../../../../control-plane/evidence/sweep.pure.ts';
import type { DataplaneOverview } from '../../../../kuma/overview.ts';
import { AROUND, BROUGHT, GRACE_MS, MINE, NOW_MS, SWEEP_AFTER_MS, shown, stream } from './cases.ts';

const OLD = [stream('cp-now', 7_200_000, SWEEP_AFTER_MS)];
const GHOST = [stream('cp-old', 60_000)];

function view(overviews: readonly DataplaneOverview[], more: Partial<SweepView> = {}): SweepView {
  return {
    overviews,
    clockMs: NOW_MS,
    around: AROUND,
    graceMs: GRACE_MS,
    sweepOfflineAfterMs: SWEEP_AFTER_MS,
    recorded: new Set(),
    departed: new Map(),
    unchangedMs: () => 45_000,
    ...more,
  };
}

const finding = (fields: Omit<SweepFinding, 'key'>): SweepFinding => ({
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  ...fields,
});

const departed = (incarnation: string): SweepView['departed'] =>
  new Map([['default/web-1', new Set([incarnation])]]);

const LONG_OFFLINE = finding({
  offlineMs: SWEEP_AFTER_MS,
  guard: undefined,
  reason: 'Kuma shows it offline for long enough',
});

describe('findOffline()', () => {
  test.for<{
    readonly name: string;
    readonly stored: DataplaneOverview;
    readonly more?: Partial<SweepView>;
    readonly found: SweepFinding | undefined;
  }>([
    {
      name: 'offline for long enough, brought by its kuma-dp',
      stored: shown({ metadata: BROUGHT, subscriptions: OLD }),
      found: LONG_OFFLINE,
    },
    {
      name: 'offline for long enough, put by an agent whose record is lost',
      stored: shown({ labels: MINE, subscriptions: OLD }),
      found: LONG_OFFLINE,
    },
    {
      name: 'a ghost alone',
      stored: shown({ metadata: BROUGHT, subscriptions: GHOST }),
      found: finding({
        offlineMs: undefined,
        guard: undefined,
        reason: 'its last stream was at a control plane instance that is gone',
      }),
    },
    {
      name: 'one that has a record',
      stored: shown({ metadata: BROUGHT, subscriptions: OLD }),
      more: { recorded: new Set(['default/web-1']) },
      found: undefined,
    },
    {
      name: 'one that is connected',
      stored: shown({ metadata: BROUGHT, subscriptions: [...OLD, stream('cp-now', 10)] }),
      found: undefined,
    },
    {
      name: 'one that may be connected',
      stored: shown({ metadata: BROUGHT, subscriptions: GHOST }),
      more: { around: { ...AROUND, silentControlPlanes: 1 } },
      found: undefined,
    },
    {
      name: 'one that an operator applied',
      stored: shown({ subscriptions: OLD }),
      found: finding({
        offlineMs: SWEEP_AFTER_MS,
        guard: 'not-lifecycle-managed',
        reason: 'neither a control plane nor an agent created it',
      }),
    },
    {
      name: 'one that an operator applied and that is connected',
      stored: shown({ subscriptions: [stream('cp-now', 10)] }),
      found: undefined,
    },
    {
      name: 'one of which nothing is known',
      stored: shown({ labels: MINE }),
      found: finding({
        offlineMs: undefined,
        guard: 'unknown-insight',
        reason: 'Kuma has recorded no stream of it',
      }),
    },
    {
      name: 'one that was written again after its agent had left',
      stored: shown({ labels: MINE }),
      more: { departed: departed('mine'), unchangedMs: () => SWEEP_AFTER_MS },
      found: finding({
        offlineMs: undefined,
        guard: undefined,
        reason: 'no stream of it was ever recorded',
      }),
    },
    {
      name: 'one that was written again a moment ago after its agent had left',
      stored: shown({ labels: MINE }),
      more: { departed: departed('mine'), unchangedMs: () => SWEEP_AFTER_MS - 1_000 },
      found: finding({
        offlineMs: undefined,
        guard: 'evidence-too-young',
        reason: 'silent for 599 s of 600 s',
      }),
    },
    {
      name: 'one of another incarnation than the one that has left',
      stored: shown({ labels: MINE }),
      more: { departed: departed('other'), unchangedMs: () => SWEEP_AFTER_MS },
      found: finding({
        offlineMs: undefined,
        guard: 'unknown-insight',
        reason: 'Kuma has recorded no stream of it',
      }),
    },
    {
      name: 'one whose agent has left, of which Kuma knows an Envoy',
      stored: shown({ labels: MINE, metadata: BROUGHT }),
      more: { departed: departed('mine'), unchangedMs: () => SWEEP_AFTER_MS },
      found: finding({
        offlineMs: undefined,
        guard: 'unknown-insight',
        reason: 'Kuma has recorded no stream of it',
      }),
    },
    {
      name: 'one that has not been offline for long enough',
      stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', 7_200_000, 60_000)] }),
      found: finding({
        offlineMs: 60_000,
        guard: 'evidence-too-young',
        reason: 'offline for 60 s of 600 s',
      }),
    },
    {
      name: 'one that has changed while we watched',
      stored: shown({ metadata: BROUGHT, subscriptions: OLD }),
      more: { unchangedMs: () => 1_000 },
      found: finding({
        offlineMs: SWEEP_AFTER_MS,
        guard: 'evidence-too-young',
        reason: 'silent for 1 s of 45 s',
      }),
    },
    {
      name: 'at a control plane that dataplanes do not belong to',
      stored: shown({ metadata: BROUGHT, subscriptions: OLD }),
      more: { around: { ...AROUND, mode: 'global' } },
      found: finding({
        offlineMs: SWEEP_AFTER_MS,
        guard: 'not-zone-cp',
        reason: 'this is a global control plane',
      }),
    },
  ])('$name', ({ stored, more, found }) => {
    expect(findOffline(view([stored], more))).toEqual(found === undefined ? [] : [found]);
  });

  test('the name alone of another mesh is not a record', () => {
    const stored = shown({ mesh: 'other', metadata: BROUGHT, subscriptions: OLD });
    const key = { proxyType: 'dataplane', mesh: 'other', name: 'web-1' };
    expect(findOffline(view([stored], { recorded: new Set(['default/web-1']) }))).toEqual([
      { ...LONG_OFFLINE, key },
    ]);
  });
});
