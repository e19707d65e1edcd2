import { BlockList, isIP } from 'node:net';

import { ownAddresses } from '../../program/own-addresses.ts';
import { plainAddress, type Network, type Networks } from './networks.pure.ts';

/** Addresses that are never another host's: loopback, link-local, multicast, unspecified. */
const NEVER: readonly Network[] = [
  { address: '0.0.0.0', prefix: 8 },
  { address: '127.0.0.0', prefix: 8 },
  { address: '169.254.0.0', prefix: 16 },
  { address: '224.0.0.0', prefix: 3 },
  { address: '::', prefix: 128 },
  { address: '::1', prefix: 128 },
  { address: 'fe80::', prefix: 10 },
  { address: 'ff00::', prefix: 8 },
];

/**
 * Rule 12 of a lost host: only the address that the suspect's own stream comes from, or networks that the operator
 * named; never this host or a control plane, unless they are in such a network.
 *
 * @param others addresses of the control planes
 */
export function lookNetworks(named: readonly Network[], others: readonly string[]): Networks {
  const allowed = listOf(named);
  const never = listOf(NEVER);
  const excluded = new Set([...ownAddresses(), ...others].map(plainAddress));
  return {
    permits(address, peer) {
      const kind = isIP(address);
      if (kind === 0) return false;
      const family = kind === 6 ? 'ipv6' : 'ipv4';
      if (allowed.check(address, family)) return true;
      if (peer === undefined || plainAddress(peer) !== plainAddress(address)) return false;
      return !never.check(address, family) && !excluded.has(plainAddress(address));
    },
  };
}

function listOf(networks: readonly Network[]): BlockList {
  const list = new BlockList();
  for (const { address, prefix } of networks)
    list.addSubnet(address, prefix, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return list;
}
