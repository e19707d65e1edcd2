import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { changeBetween, type FleetChange } from '../../../../control-plane/page/fleet-change.pure.ts';
import type { FleetSnapshot } from '../../../../control-plane/page/fleet-view.pure.ts';
import { departure, head, row } from '../../../support/scripted-fleet.ts';

const HEAD = head({ startedAtMs: 1 });
const A = row('default/a', { sinceMs: 1 });
const B = row('default/b', { sinceMs: 1 });
const BEFORE: FleetSnapshot = { nowMs: 1_000, head: HEAD, dataplanes: [A, B], departures: [] };
const AFTER: FleetSnapshot = structuredClone({ ...BEFORE, nowMs: 2_000 });
const LEAVING = { ...B, state: 'leaving' } as const;
const GONE = departure('default/b', { atMs: 1_500 });

describe('changeBetween()', () => {
  test.for<{
    readonly name: string;
    readonly after: Partial<FleetSnapshot>;
    readonly change: FleetChange | undefined;
  }>([
    { name: 'nothing, but time passes', after: {}, change: undefined },
    {
      name: 'one leaves',
      after: { dataplanes: [A, LEAVING] },
      change: { nowMs: 2_000, dataplanes: [LEAVING] },
    },
    {
      name: 'one has departed',
      after: { dataplanes: [A], departures: [GONE] },
      change: { nowMs: 2_000, gone: ['default/b'], departures: [GONE] },
    },
    {
      name: 'one comes',
      after: { dataplanes: [A, B, row('default/c', { sinceMs: 2 })] },
      change: { nowMs: 2_000, dataplanes: [row('default/c', { sinceMs: 2 })] },
    },
    {
      name: 'the store is away',
      after: { head: { ...HEAD, store: { kind: 'sqlite', problem: 'disk full' } } },
      change: { nowMs: 2_000, head: { ...HEAD, store: { kind: 'sqlite', problem: 'disk full' } } },
    },
  ])('says what is new: $name', ({ after, change }) => {
    expect(changeBetween(BEFORE, { ...AFTER, ...after })).toEqual(change);
  });

  test('applying every change gives what a snapshot says', () => {
    const rows = fc.uniqueArray(
      fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd', '__proto__'), epoch: fc.nat(2) }),
      { selector: ({ id }) => id },
    );
    fc.assert(
      fc.property(fc.array(rows, { minLength: 2, maxLength: 8 }), (states) => {
        const held = new Map<string, number>((states[0] ?? []).map(({ id, epoch }) => [id, epoch]));
        let before: FleetSnapshot | undefined;
        for (const state of states) {
          const after = {
            ...BEFORE,
            dataplanes: state.map(({ id, epoch }) => row(id, { epoch, sinceMs: 1 })),
          };
          const change = before === undefined ? undefined : changeBetween(before, after);
          for (const id of change?.gone ?? []) held.delete(id);
          for (const { id, epoch } of change?.dataplanes ?? []) held.set(id, epoch);
          before = after;
        }
        expect(held).toEqual(new Map((states.at(-1) ?? []).map(({ id, epoch }) => [id, epoch])));
      }),
    );
  });
});
