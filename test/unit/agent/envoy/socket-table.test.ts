import { describe, expect, test } from 'vitest';

import { readOwnConnections } from '../../../../agent/envoy/socket-table.pure.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

function row(local: string, remote: string, { state = '01', inode = '0' } = {}): string {
  return `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000 20 4 30 10 -1`;
}

/** 10.0.0.5:40000, 10.0.0.9:5682 and Envoy's 127.0.0.1:15001 as procfs writes them. */
const AGENT = '0500000A:9C40';
const CONTROL_PLANE = '0900000A:1632';
const ENVOY = '0100007F:3A99';
const PORTS = new Set([15_001]);

describe('readOwnConnections()', () => {
  test.for([
    {
      name: 'a redirected connection is found by its own address, which Envoy sees too',
      rows: [row(AGENT, CONTROL_PLANE, { inode: '71' }), row(ENVOY, AGENT, { inode: '99' })],
      own: [AGENT],
    },
    {
      name: 'one that goes to the control plane itself is not',
      rows: [row(AGENT, CONTROL_PLANE, { inode: '71' })],
      own: [],
    },
    {
      name: 'one of another process is not ours',
      rows: [row(AGENT, CONTROL_PLANE, { inode: '72' }), row(ENVOY, AGENT)],
      own: [],
    },
    {
      name: 'one to another listener of this host does not count',
      rows: [row(AGENT, CONTROL_PLANE, { inode: '71' }), row('0100007F:1632', AGENT)],
      own: [],
    },
    {
      name: 'one that is being closed does not count',
      rows: [row(AGENT, CONTROL_PLANE, { inode: '71', state: '06' }), row(ENVOY, AGENT)],
      own: [],
    },
    {
      name: 'IPv4 is IPv4 in the other table as well',
      rows: [
        row(`0000000000000000FFFF0000${AGENT}`, `0000000000000000FFFF0000${CONTROL_PLANE}`, { inode: '71' }),
        row(ENVOY, AGENT),
      ],
      own: [AGENT],
    },
  ])('$name', ({ rows, own }) => {
    const tables = [HEAD, ...rows, ''].join('\n');
    const found = readOwnConnections(tables, { inodes: new Set(['71']), ports: PORTS });
    expect([...found]).toEqual(own);
  });

  test('text that is no table names nothing', () => {
    expect(readOwnConnections('', { inodes: new Set(['71']), ports: PORTS }).size).toBe(0);
  });
});
