import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  DEFAULT_BRAKE,
  describeBrakes,
  judgeBrake,
  type BrakeRuling,
  type BrakeView,
  type PastDeletion,
} from '../../../../control-plane/evidence/brake.pure.ts';
import type { DataplaneOverview } from '../../../../kuma/overview.ts';
import { NOW_MS, inbound, shown } from './cases.ts';

const FREE: BrakeRuling = { held: false };
const HINT = 'released by `kuma-deregistrar brake release`';
const RULE = '(25 %, at least 3)';

function dataplane(name: string, service = 'web', more: object = {}): DataplaneOverview {
  const networking = service === '' ? {} : { inbound: [inbound(service, { ...more })] };
  return shown({ name, networking });
}

function fleet(count: number, service?: string): readonly DataplaneOverview[] {
  return Array.from({ length: count }, (_, at) => dataplane(`${service ?? 'web'}-${at}`, service));
}

function deleted(name: string, agoMs: number, more: Partial<PastDeletion> = {}): PastDeletion {
  return {
    key: { proxyType: 'dataplane', mesh: 'default', name },
    cause: 'fallback',
    outcome: 'deleted',
    atMs: NOW_MS - agoMs,
    services: ['web'],
    ...more,
  };
}

function scopeCount(scope: string): string {
  return `3 of 10 dataplanes ${scope} were deleted in the last 10m, at most 3 ${RULE}`;
}

const THREE = [deleted('d-1', 360_000), deleted('d-2', 200_000), deleted('d-3', 100_000)];

function view(more: Partial<BrakeView> = {}): BrakeView {
  return { overviews: fleet(7), past: [], releases: [], nowMs: NOW_MS, settings: DEFAULT_BRAKE, ...more };
}

function held(reason: string, retryAfterMs: number): BrakeRuling {
  return { held: true, reason, retryAfterMs };
}

describe('judgeBrake()', () => {
  const OF_TEN = `3 of 10 dataplanes of mesh default were deleted in the last 10m, at most 3 ${RULE}; ${HINT} or in 4m`;
  const candidate = dataplane('web-0');

  test.for<{ readonly name: string; readonly view: Partial<BrakeView>; readonly ruling: BrakeRuling }>([
    { name: 'none was deleted', view: {}, ruling: FREE },
    { name: 'two of nine were', view: { past: THREE.slice(1) }, ruling: FREE },
    { name: 'three of ten were', view: { past: THREE }, ruling: held(OF_TEN, 240_000) },
    {
      name: 'three of sixteen were: a quarter is four',
      view: { past: THREE, overviews: fleet(13) },
      ruling: FREE,
    },
    {
      name: 'three of fifteen were',
      view: { past: THREE, overviews: fleet(12) },
      ruling: held(OF_TEN.replace('of 10 ', 'of 15 '), 240_000),
    },
    {
      name: 'the first of them leaves the window this moment',
      view: { past: [deleted('d-1', 600_000), ...THREE.slice(1)] },
      ruling: FREE,
    },
    {
      name: 'requested ones do not count',
      view: { past: THREE.map((past) => ({ ...past, cause: 'requested' as const })) },
      ruling: FREE,
    },
    {
      name: 'nor those that were gone already',
      view: { past: THREE.map((past) => ({ ...past, outcome: 'already gone' as const })) },
      ruling: FREE,
    },
    {
      name: 'those of a sweep do',
      view: { past: THREE.map((past) => ({ ...past, cause: 'sweep' as const })) },
      ruling: held(OF_TEN, 240_000),
    },
    {
      name: 'nor those of another mesh',
      view: { past: THREE.map((past) => ({ ...past, key: { ...past.key, mesh: 'other' } })) },
      ruling: FREE,
    },
    {
      name: 'one that was deleted twice counts once, by its last time',
      view: { past: [deleted('d-3', 500_000), ...THREE.slice(1)] },
      ruling: FREE,
    },
    {
      name: 'the candidate itself was deleted before and came back',
      view: { past: [...THREE.slice(1), deleted('web-0', 500_000)] },
      ruling: FREE,
    },
    {
      name: 'a deletion ahead of the clock counts',
      view: { past: [...THREE.slice(1), deleted('d-1', -3_600_000)] },
      ruling: held(OF_TEN.replace('in 4m', 'in 7m'), 400_000),
    },
    {
      name: 'released',
      view: { past: THREE, releases: [{ mesh: 'default', untilMs: NOW_MS + 1 }] },
      ruling: FREE,
    },
    {
      name: 'all are released',
      view: { past: THREE, releases: [{ mesh: '', untilMs: NOW_MS + 1 }] },
      ruling: FREE,
    },
    {
      name: 'the release is over',
      view: { past: THREE, releases: [{ mesh: '', untilMs: NOW_MS }] },
      ruling: held(OF_TEN, 240_000),
    },
    {
      name: 'another mesh is released',
      view: { past: THREE, releases: [{ mesh: 'other', untilMs: NOW_MS + 1 }] },
      ruling: held(OF_TEN, 240_000),
    },
    {
      name: 'nothing may be deleted at all',
      view: { settings: { share: 0, minimum: 0, windowMs: 60_000 } },
      ruling: held(
        `0 of 7 dataplanes of mesh default were deleted in the last 1m, at most 0 (0 %, at least 0); ${HINT} or in 1m`,
        60_000,
      ),
    },
  ])('$name', ({ view: more, ruling }) => {
    expect(judgeBrake(view(more), candidate)).toEqual(ruling);
  });

  test('a service has a share of its own', () => {
    const overviews = [...fleet(7), ...fleet(40, 'admin')];
    expect(judgeBrake(view({ overviews, past: THREE }), candidate)).toEqual(
      held(OF_TEN.replace('of mesh', 'of service web in mesh'), 240_000),
    );
    expect(judgeBrake(view({ overviews, past: THREE }), dataplane('admin-1', 'admin'))).toEqual(FREE);
  });

  test('one without a service counts for its mesh alone', () => {
    const past = THREE.map((each) => ({ ...each, services: [] }));
    expect(judgeBrake(view({ past }), candidate)).toEqual(held(OF_TEN, 240_000));
    expect(judgeBrake(view({ past, overviews: fleet(13) }), dataplane('batch-1', ''))).toEqual(FREE);
  });
});

describe('the last one of a service', () => {
  const LAST = held(
    `it is the last ready dataplane of service web in mesh default; ${HINT} or once another one is ready`,
    15_000,
  );
  const candidate = dataplane('web-0');
  const NOT_READY = { state: 'NotReady' };

  test.for<{
    readonly name: string;
    readonly others: readonly DataplaneOverview[];
    readonly ruling: BrakeRuling;
  }>([
    { name: 'another one is ready', others: [dataplane('web-1')], ruling: FREE },
    { name: 'there is no other', others: [], ruling: LAST },
    { name: 'the other is not ready', others: [dataplane('web-1', 'web', NOT_READY)], ruling: LAST },
    { name: 'the other is of another service', others: [dataplane('web-1', 'admin')], ruling: LAST },
    { name: 'the other is in another mesh', others: [{ ...dataplane('web-1'), mesh: 'b' }], ruling: LAST },
  ])('$name', ({ others, ruling }) => {
    expect(judgeBrake(view({ overviews: [candidate, ...others] }), candidate)).toEqual(ruling);
  });

  test('one that is not ready itself may go: no peer has it', () => {
    const asleep = dataplane('web-0', 'web', NOT_READY);
    expect(judgeBrake(view({ overviews: [asleep] }), asleep)).toEqual(FREE);
  });

  test('an operator may give it up', () => {
    const releases = [{ mesh: 'default', untilMs: NOW_MS + 60_000 }];
    expect(judgeBrake(view({ overviews: [candidate], releases }), candidate)).toEqual(FREE);
  });

  test('it is enough that it is the last one of one of its services', () => {
    const both = shown({ name: 'web-0', networking: { inbound: [inbound('admin'), inbound('web')] } });
    expect(judgeBrake(view({ overviews: [both, dataplane('a', 'admin')] }), both)).toEqual(LAST);
  });
});

describe('describeBrakes()', () => {
  const WHOLE = {
    mesh: 'default',
    service: '',
    dataplanes: 10,
    deleted: 3,
    allowed: 3,
    releasedForMs: undefined,
  };

  test('says nothing where nothing is held and nothing is near', () => {
    expect(describeBrakes(view({ past: THREE.slice(2) }), [dataplane('web-0')])).toEqual([]);
  });

  test('shows a mesh and a service that hold something back, with how much', () => {
    const waiting = [dataplane('web-0'), dataplane('web-1')];
    const rest = `; ${HINT} or in 4m`;
    expect(describeBrakes(view({ past: THREE }), waiting)).toEqual([
      { ...WHOLE, heldBack: 2, reason: `${scopeCount('of mesh default')}${rest}` },
      {
        ...WHOLE,
        service: 'web',
        heldBack: 2,
        reason: `${scopeCount('of service web in mesh default')}${rest}`,
      },
    ]);
  });

  test('shows what is near, though nothing waits', () => {
    expect(describeBrakes(view({ past: THREE }), [])).toEqual([
      { ...WHOLE, heldBack: 0, reason: scopeCount('of mesh default') },
      { ...WHOLE, service: 'web', heldBack: 0, reason: scopeCount('of service web in mesh default') },
    ]);
  });

  test('shows for how long an operator has released it, the longest counts', () => {
    const releases = [
      { mesh: '', untilMs: NOW_MS + 60_000 },
      { mesh: 'default', untilMs: NOW_MS + 90_000 },
    ];
    const standing = { ...WHOLE, heldBack: 0, releasedForMs: 90_000, reason: 'released for 1m30s' };
    expect(describeBrakes(view({ past: THREE, releases }), [dataplane('web-0')])).toEqual([
      standing,
      { ...standing, service: 'web' },
    ]);
  });

  test('shows the last one of a service, and not its mesh', () => {
    const alone = dataplane('web-0');
    expect(describeBrakes(view({ overviews: [alone] }), [alone])).toEqual([
      {
        mesh: 'default',
        service: 'web',
        dataplanes: 1,
        deleted: 0,
        allowed: 3,
        heldBack: 1,
        reason: `it is the last ready dataplane of service web in mesh default; ${HINT} or once another one is ready`,
        releasedForMs: undefined,
      },
    ]);
  });
});

describe('the brake, whatever happens', () => {
  const settings = fc.record({
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    minimum: fc.nat(5),
    windowMs: fc.integer({ min: 1_000, max: 600_000 }),
  });

  test('never lets through more than its share, and always something in the end', () => {
    fc.assert(
      fc.property(settings, fc.integer({ min: 2, max: 40 }), (given, count) => {
        const allowed = Math.max(given.minimum, Math.floor(count * given.share));
        const past: PastDeletion[] = [];
        const waits: number[] = [];
        let overviews = fleet(count);
        let nowMs = NOW_MS;
        for (const each of overviews) {
          const ruling = judgeBrake(view({ overviews, past, nowMs, settings: given }), each);
          if (ruling.held) {
            waits.push(ruling.retryAfterMs / Math.max(15_000, given.windowMs));
            nowMs += ruling.retryAfterMs;
          } else {
            overviews = overviews.filter(({ name }) => name !== each.name);
            past.push({ ...deleted(each.name, 0), atMs: nowMs });
          }
          const recent = past.filter(({ atMs }) => atMs > nowMs - given.windowMs).length;
          expect(recent).toBe(Math.min(recent, allowed));
          expect(overviews).not.toEqual([]);
        }
        expect(waits.filter((share) => share <= 0 || share > 1)).toEqual([]);
      }),
    );
  });
});
