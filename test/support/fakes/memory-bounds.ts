import {
  RESOURCE_HEAD,
  type Cause,
  type DataplaneRecord,
  type DeletedBody,
  type RecordSummary,
} from '../../../control-plane/records.pure.ts';
import { KEPT } from '../../../control-plane/store/limits.ts';
import { describeKey, type DataplaneKey } from '../../../kuma/dataplane.ts';
import type { MemoryTables } from './memory-database.ts';

interface Kept {
  readonly key: DataplaneKey;
  readonly epoch: number;
}

/** Drops rows beyond the bounds, as the databases do. */
export function boundTables({ departures, bodies }: MemoryTables): void {
  const kept = new Set(newestOfEachName(departures, KEPT.departuresOfName).slice(0, KEPT.departures));
  departures.splice(0, departures.length, ...departures.filter((each) => kept.has(each)));
  let total = 0;
  const fits = new Set(
    newestOfEachName([...bodies.values()], KEPT.bodiesOfName)
      .toSorted((a, b) => a.resource.length - b.resource.length)
      .filter(({ resource }) => (total += resource.length) <= KEPT.bodies),
  );
  for (const body of bodies.values()) if (!fits.has(body)) bodies.delete(body.epoch);
}

/** As it is in a list. */
export function summaryOf(record: DataplaneRecord): RecordSummary {
  const { resource, ...common } = record;
  return { ...common, resourceHead: resource?.slice(0, RESOURCE_HEAD) };
}

/** @param causes of their departures; left out: all */
export function bodiesOf(
  { departures, bodies }: MemoryTables,
  sinceMs: number,
  causes?: readonly Cause[],
): readonly DeletedBody[] {
  const isWanted = ({ epoch }: DeletedBody): boolean =>
    causes === undefined || departures.some((each) => each.epoch === epoch && causes.includes(each.cause));
  return [...bodies.values()]
    .filter((each) => each.atMs >= sinceMs && isWanted(each))
    .toSorted((a, b) => a.epoch - b.epoch);
}

/** Newest first. */
function newestOfEachName<Each extends Kept>(all: readonly Each[], count: number): readonly Each[] {
  const places = new Map<string, number>();
  return all
    .toSorted((a, b) => b.epoch - a.epoch)
    .filter(({ key }) => {
      const place = places.get(describeKey(key)) ?? 0;
      places.set(describeKey(key), place + 1);
      return place < count;
    });
}
