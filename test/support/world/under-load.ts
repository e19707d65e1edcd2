import { expect } from 'vitest';

import type { Fleet } from './fleet.ts';
import { LoadGenerator, type LoadSummary } from './load-generator.ts';

export const NAMES = ['backend-1', 'backend-2', 'backend-3'];

const RATE_PER_SECOND = 100;

export interface LoadTraffic {
  readonly name: string;
  readonly inbound: 'http' | 'http2' | 'tcp';
  readonly load: 'http1' | 'http2' | 'tcp';
}

export const HTTP1: LoadTraffic = { name: 'keep-alive HTTP/1.1', inbound: 'http', load: 'http1' };

/** Holds load on a fleet while `change` happens, and until a hundred good answers after it. */
export async function underLoad(
  fleet: Pick<Fleet, 'client'>,
  traffic: LoadTraffic,
  change: (load: LoadGenerator) => Promise<void>,
): Promise<LoadSummary> {
  await using load = new LoadGenerator({
    target: { protocol: traffic.load, port: fleet.client.ports[traffic.load] },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  const before = load.summary();
  expect(before.byFailure, 'the fleet must be healthy before anything happens').toEqual({});
  expect(Object.keys(before.byInstance).toSorted(), 'every instance must get its share').toEqual(NAMES);
  await change(load);
  await load.waitForSuccesses(RATE_PER_SECOND);
  return await load.stop();
}
