import { readSocketTable } from '../../kernel/socket-table.ts';

/**
 * The sockets in `inodes` whose other end is on this host, at one of `ports`. If a kernel rule redirected a connection,
 * its two ends know different target addresses. Both know the client's own address, so the connection is found by that.
 *
 * @param tables text of /proc/net/tcp and /proc/net/tcp6
 * @returns one name for each connection
 */
export function readOwnConnections(
  tables: string,
  { inodes, ports }: { readonly inodes: ReadonlySet<string>; readonly ports: ReadonlySet<number> },
): ReadonlySet<string> {
  const sockets = readSocketTable(tables);
  const own = new Set(
    sockets
      .filter(({ inode, isEstablished }) => isEstablished && inodes.has(inode))
      .map(({ local }) => local),
  );
  return new Set(
    sockets
      .filter(({ local, remote }) => own.has(remote) && ports.has(portOf(local)))
      .map(({ remote }) => remote),
  );
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16);
}
