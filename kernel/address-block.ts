/** The block of addresses that one party usually owns: an IPv4 address, or the /64 of an IPv6 one. */
export function addressBlock(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%', 1).join('').split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const groups = [...left, ...(tail === undefined ? [] : zeros), ...right];
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** @param peer as grpc-js names it: `address:port`, without brackets; a peer of a Unix socket has no name */
export function addressBlockOf(peer: string): string {
  return addressBlock(peer.slice(0, Math.max(0, peer.lastIndexOf(':'))));
}
