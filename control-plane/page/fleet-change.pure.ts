import type { FleetDeparture, FleetHead, FleetRow, FleetSnapshot } from './fleet-view.pure.ts';

/** The difference between two snapshots; absent fields are unchanged. */
export interface FleetChange {
  readonly nowMs: number;
  readonly head?: FleetHead;
  /** New and changed rows. */
  readonly dataplanes?: readonly FleetRow[];
  /** Ids of removed rows. */
  readonly gone?: readonly string[];
  /** Complete lists, since they are short. */
  readonly departures?: readonly FleetDeparture[];
}

/** @returns `undefined` if nothing but the time has passed */
export function changeBetween(before: FleetSnapshot, after: FleetSnapshot): FleetChange | undefined {
  const known = new Map(before.dataplanes.map((row) => [row.id, JSON.stringify(row)]));
  const dataplanes = after.dataplanes.filter((row) => known.get(row.id) !== JSON.stringify(row));
  const present = new Set(after.dataplanes.map(({ id }) => id));
  const gone = [...known.keys()].filter((id) => !present.has(id));
  const change = {
    ...(isSame(before.head, after.head) ? {} : { head: after.head }),
    ...(dataplanes.length === 0 ? {} : { dataplanes }),
    ...(gone.length === 0 ? {} : { gone }),
    ...(isSame(before.departures, after.departures) ? {} : { departures: after.departures }),
  };
  return Object.keys(change).length === 0 ? undefined : { nowMs: after.nowMs, ...change };
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
