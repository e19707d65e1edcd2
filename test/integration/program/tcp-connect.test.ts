import { createServer, type Server } from 'node:net';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { tcpConnect } from '../../../program/tcp-connect.ts';
import { freePort } from '../../support/world/free-port.ts';

describe('a TCP connect of a witness', () => {
  let server: Server;
  let bytes: number;
  let ended: PromiseWithResolvers<void>;

  beforeEach(async () => {
    bytes = 0;
    ended = Promise.withResolvers();
    server = createServer((socket) => {
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
      socket.on('error', ended.reject);
      socket.on('end', ended.resolve);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
  });

  afterEach(() => {
    server.close();
  });

  test('to a listening port is accepted, sends nothing, and ends with a FIN', async () => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('It does not listen');
    const connecting = tcpConnect({ address: '127.0.0.1', port: address.port });
    expect(connecting.outcome()).toBe('no answer');
    await connecting.settled;
    expect(connecting.outcome()).toBe('accepted');
    connecting.close();
    await ended.promise;
    expect(bytes).toBe(0);
    expect(connecting.outcome()).toBe('accepted');
  });

  test('to a closed port is refused', async () => {
    const connecting = tcpConnect({ address: '127.0.0.1', port: await freePort() });
    await connecting.settled;
    expect(connecting.outcome()).toEqual({ code: 'ECONNREFUSED' });
    connecting.close();
  });

  test('works for an IPv6 address', async () => {
    const connecting = tcpConnect({ address: '::1', port: await freePort() });
    await connecting.settled;
    expect(connecting.outcome()).toMatchObject({ code: expect.stringMatching(/^E/) });
    connecting.close();
  });

  test('that is closed early has neither answer nor error', async () => {
    const connecting = tcpConnect({ address: '127.0.0.1', port: 1 });
    connecting.close();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(connecting.outcome()).toBe('no answer');
  });
});
