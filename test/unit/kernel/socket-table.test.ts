import { describe, expect, test } from 'vitest';

import { readSocketTable, readUnacknowledged, tableAddress } from '../../../kernel/socket-table.ts';

/** As Linux 6.8 writes them: a listener, a connection whose peer is silent, an idle one with keepalive. */
const TCP = [
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     ',
  '   0: 0100007F:1E61 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1001 1 0000000000000000 100 0 0 10 0                     ',
  '   1: 0107E70A:1E61 0B07E70A:BCD0 01 0000000E:00000000 01:00000064 00000004     0        0 1002 4 0000000000000000 20 4 30 10 -1                    ',
  '   2: 0107E70A:1E61 0C07E70A:BCD2 01 00000000:00000000 02:000000C8 00000000     0        0 1003 2 0000000000000000 20 4 30 10 -1                    ',
  '10003: 0107E70A:1E61 0D07E70A:BCD4 01 00000001:00000000 04:00000012 00000000     0        0 1004 2 0000000000000000 20 4 30 10 -1                    ',
  '10004: 0107E70A:1E61 0E07E70A:BCD4 01 00000001:00000000 01:00000012 00000002     0        3 1007 2 0000000000000000 20 4 30 10 -1                    ',
  '',
].join('\n');
const TCP6 =
  '   0: 0000000000000000FFFF00000107E70A:1E61 0000000000000000FFFF00000E07E70A:BCD6 01 00000002:00000000 01:00000014 00000001     0        0 1005 1 0000000000000000 20 4 30 10 -1\n' +
  '   1: 000080FE00000000FF57A6705DC771FE:1E61 000080FE00000000FF57A6705DC771FD:BCD8 01 00000000:00000000 02:00000014 00000000     0        0 1006 1 0000000000000000 20 4 30 10 -1\n';

describe('the kernel’s table of TCP sockets', () => {
  test('says of each connection what is unacknowledged and which timer runs', () => {
    expect(readSocketTable(`${TCP}\n${TCP6}`).map(({ inode, ...row }) => [inode, row])).toMatchObject([
      ['1001', { isEstablished: false, timer: 'none' }],
      [
        '1002',
        {
          isEstablished: true,
          unacknowledged: 14,
          timer: 'retransmission',
          timerMs: 1_000,
          retransmissions: 4,
        },
      ],
      ['1003', { unacknowledged: 0, timer: 'keepalive', timerMs: 2_000, retransmissions: 0 }],
      ['1004', { unacknowledged: 1, timer: 'other', probes: 0 }],
      ['1007', { timer: 'retransmission', retransmissions: 2, probes: 3 }],
      ['1005', { unacknowledged: 2, timer: 'retransmission', local: '0107E70A:1E61' }],
      ['1006', { unacknowledged: 0, timer: 'keepalive' }],
    ]);
  });

  test('is searched for what is unacknowledged without reading the rest', () => {
    const unacknowledged = ['1002', '1004', '1007', '1005'];
    expect(readUnacknowledged(`${TCP}\n${TCP6}`).map(({ inode }) => inode)).toEqual(unacknowledged);
    expect(readUnacknowledged('')).toEqual([]);
  });

  test.for([
    ['10.231.7.11', 48_336, '0B07E70A:BCD0'],
    ['::ffff:10.231.7.11', 48_336, '0B07E70A:BCD0'],
    ['127.0.0.1', 80, '0100007F:0050'],
    ['fe80::70a6:57ff:fe71:c75d%eth0', 7_777, '000080FE00000000FF57A6705DC771FE:1E61'],
    ['::1', 80, '00000000000000000000000001000000:0050'],
    ['2001:db8::1:0:0:7', 443, 'B80D0120000000000000010007000000:01BB'],
  ] as const)('has %s port %d as %s', ([address, port, name]) => {
    expect(tableAddress(address, port)).toBe(name);
  });
});
