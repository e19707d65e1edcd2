import { networkInterfaces } from 'node:os';

/** The addresses of this host; none where a unit's `RestrictAddressFamilies` hides them (AF_NETLINK is missing). */
export function ownAddresses(): readonly string[] {
  try {
    return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address));
  } catch {
    return [];
  }
}
