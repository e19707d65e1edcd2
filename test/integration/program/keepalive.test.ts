import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

import { expect, test } from 'vitest';

import { readSocketTable, tableAddress } from '../../../kernel/socket-table.ts';
import { keepAlive, knowsKeepAlive } from '../../../program/keepalive.ts';

test('this Node lets the kernel probe after 2 s, and reports so without a connection', async () => {
  expect(knowsKeepAlive()).toBe(true);
  const server = createServer((peer) => peer.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('It does not listen');
  const socket = connect(address.port, address.address);
  await once(socket, 'connect');
  keepAlive(socket);
  const local = tableAddress('127.0.0.1', socket.localPort ?? 0);
  const row = readSocketTable(readFileSync('/proc/self/net/tcp', 'latin1')).find(
    (each) => each.local === local,
  );
  // The kernel rounds up to its ticks; its default is two hours.
  expect(row).toMatchObject({ timer: 'keepalive' });
  expect(row?.timerMs).toBeLessThan(4_000);
  socket.destroy();
  server.close();
});
