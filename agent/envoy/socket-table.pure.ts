interface Socket {
  readonly local: string;
  readonly remote: string;
  readonly established: boolean;
  readonly inode: string;
}

/** How /proc/net/tcp6 writes an IPv4 address. */
const MAPPED = '0000000000000000FFFF0000';
const ESTABLISHED = '01';

/**
 * The sockets in `inodes` whose other end is on this host, at one of `ports`. A connection that a rule of the kernel
 * redirected has another address for its owner than for its other end, so it is found by its own address, which both
 * ends know.
 *
 * @param tables text of /proc/net/tcp and /proc/net/tcp6
 * @returns one name for each connection
 */
export function readOwnConnections(
  tables: string,
  { inodes, ports }: { readonly inodes: ReadonlySet<string>; readonly ports: ReadonlySet<number> },
): ReadonlySet<string> {
  const sockets = tables.split('\n').flatMap((line) => readSocket(line) ?? []);
  const own = new Set(
    sockets.filter(({ inode, established }) => established && inodes.has(inode)).map(({ local }) => local),
  );
  return new Set(
    sockets
      .filter(({ local, remote }) => own.has(remote) && ports.has(portOf(local)))
      .map(({ remote }) => remote),
  );
}

/** @see https://docs.kernel.org/networking/proc_net_tcp.html */
function readSocket(line: string): Socket | undefined {
  const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
  if (local === undefined || remote === undefined || inode === undefined || !local.includes(':'))
    return undefined;
  return { local: unmapped(local), remote: unmapped(remote), established: state === ESTABLISHED, inode };
}

function unmapped(address: string): string {
  return address.startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16);
}
