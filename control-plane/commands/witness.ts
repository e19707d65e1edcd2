import { lookup } from 'node:dns/promises';

import { systemClock, within } from '../../kernel/clock.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import { thisHost } from '../../program/this-host.ts';
import type { ServeOptions } from '../options.ts';
import type { Metrics } from '../server/metrics.io.ts';
import { lookNetworks } from '../witness/networks.io.ts';
import { ownLook } from '../witness/own-look.ts';
import type { WitnessSettings } from '../witness/witnesses.ts';
import type { KumaAccess } from './kuma-access.ts';

export async function witnessSettings(
  { witness, witnessNetworks }: ServeOptions,
  { urls }: KumaAccess,
  metrics: Metrics,
): Promise<WitnessSettings> {
  return {
    isOn: witness === 'on',
    networks: lookNetworks(witnessNetworks, await addressesOf(urls)),
    look: ownLook({ clock: systemClock, connect: tcpConnect }),
    host: thisHost(),
    onAnswer: metrics.testified,
    onSidelined: metrics.sidelinedAfter,
    onRestored: metrics.restored,
  };
}

/** How long the start waits for a name server. */
const LOOKUP_MS = 1_000;

/** Skips names that do not resolve now: agents also refuse to look at control planes. */
async function addressesOf(urls: readonly URL[]): Promise<readonly string[]> {
  const found = await Promise.all(
    urls.map(({ hostname: host }) => {
      const addresses = lookup(host.replaceAll(/[[\]]/g, ''), { all: true }).catch(() => []);
      return within(systemClock, LOOKUP_MS, addresses);
    }),
  );
  return found.flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
}
