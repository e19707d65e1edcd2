import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

import { readOwnConnections } from './socket-table.pure.ts';

/** The agent's own connections to these ports of this host, redirected ones included. Never throws. */
export function ownConnections(ports: ReadonlySet<number>): ReadonlySet<string> {
  return readOwnConnections(socketTables(), { inodes: ownSockets(), ports });
}

function socketTables(): string {
  return ['tcp', 'tcp6'].map((table) => readOrNothing(`/proc/self/net/${table}`)).join('\n');
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The inodes of this process's own sockets. */
function ownSockets(): ReadonlySet<string> {
  const inodes = new Set<string>();
  for (const descriptor of namesIn('/proc/self/fd')) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/self/fd/${descriptor}`))?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The descriptor of the listing itself is closed by now. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
