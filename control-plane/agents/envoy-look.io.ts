import { connect, isIP } from 'node:net';

import type { Clock } from '../../kernel/clock.ts';
import { storedResource } from '../../kuma/dataplane.ts';
import type { DataplaneRecord } from '../records.pure.ts';

/** Part of the 0.8 s that a start waits for its epoch. */
const LOOK_MS = 300;
/** How many inbounds are tried: the first ones represent all. */
const PORTS = 2;

interface EnvoyPlace {
  readonly host: string;
  readonly port: number;
}

/**
 * Whether every tried inbound refuses this process. Only a refusal proves something: if an address cannot be reached,
 * or nothing answers in time, Envoy may serve. No byte is sent.
 */
export async function isRefusedByEnvoy(
  { resource }: Pick<DataplaneRecord, 'resource'>,
  clock: Clock,
): Promise<boolean> {
  const places = inboundsOf(resource);
  if (places.length === 0) return false;
  const refused = await Promise.all(places.map((place) => isRefused(place, clock)));
  return refused.every(Boolean);
}

/** Skips host names: they may resolve differently here. */
function inboundsOf(resource: string | undefined): readonly EnvoyPlace[] {
  const { address, inbound = [] } = storedResource(resource)?.networking ?? {};
  return inbound
    .map(({ port, address: own }) => ({ host: own ?? address, port }))
    .filter((place): place is EnvoyPlace => isIP(String(place.host)) !== 0 && typeof place.port === 'number')
    .slice(0, PORTS);
}

function isRefused(place: EnvoyPlace, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(place);
    const end = (refused: boolean): void => {
      disarm();
      socket.destroy();
      resolve(refused);
    };
    const disarm = clock.after(LOOK_MS, () => {
      end(false);
    });
    socket.once('connect', () => {
      end(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      end(error.code === 'ECONNREFUSED');
    });
  });
}
