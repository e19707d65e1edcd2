import { expect } from 'vitest';

import type { EndpointChange, EndpointWatcher } from '../support/world/endpoint-watcher.ts';
import { NetworkFleet, untilAcquainted, type NetworkFleetOptions } from '../support/world/network-fleet.ts';

/** A fleet whose agents have reached each other. */
export async function acquainted(options: NetworkFleetOptions): Promise<NetworkFleet> {
  const fleet = await NetworkFleet.start(options);
  await untilAcquainted(fleet);
  return fleet;
}

export function leavers(watcher: EndpointWatcher): readonly EndpointChange[] {
  expect(watcher.changes.some(({ kind }) => kind === 'entered')).toBe(true);
  return watcher.changes.filter(({ kind }) => kind === 'left');
}

/** @returns ms from `sinceMs` (epoch) until the companion logged that it took one out; `undefined` if it did not */
export function sidelinedIn({ companion }: NetworkFleet, sinceMs: number): number | undefined {
  const said = companion?.events.find(({ event }) => event === 'dataplane.sidelined');
  return said === undefined ? undefined : Date.parse(String(said['time'])) - sinceMs;
}

export function failWith(fleet: NetworkFleet): (error: unknown) => never {
  return (error) => {
    throw new Error(`${String(error)}\n${fleet.said}`);
  };
}
