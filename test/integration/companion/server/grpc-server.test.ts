import { once } from 'node:events';

import { compressionAlgorithms, Metadata, status } from '@grpc/grpc-js';
import { describe as group, expect, test } from 'vitest';

import { DEFAULT_LIMITS, startGrpcServer } from '../../../../control-plane/server/grpc-server.io.ts';
import { systemClock } from '../../../../kernel/clock.ts';
import { AdminService } from '../../../../proto/gen/deregistrar/v1/admin.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import { ask, askBig, HELLO, plaintext, startTestServer, token } from './server-world.ts';

/** An HTTP/2 preface and empty settings: a client that sends nothing else. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

group('the gRPC server', () => {
  test('the server serves a call, and answers an unknown one with UNIMPLEMENTED', async () => {
    await using world = await startTestServer();
    const client = world.client();
    await expect(ask(client)).resolves.toBe('ok');
    const unknown = await new Promise((resolve) => {
      client.makeUnaryRequest(
        '/deregistrar.v1.Deregistrar/Nothing',
        (value: Buffer) => value,
        (value) => value,
        Buffer.of(),
        (error) => {
          resolve(error?.code);
        },
      );
    });
    expect(unknown).toBe(status.UNIMPLEMENTED);
  });

  test.for([
    { how: 'as it is', options: {} },
    // A megabyte of one letter is a kilobyte on the wire.
    { how: 'compressed', options: { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } },
  ])('the server refuses a message of 1 MB, $how, and serves the next one', async ({ options }) => {
    await using world = await startTestServer();
    const client = world.client(0, options);
    await expect(askBig(client, 1_000_000)).resolves.toMatch(/^8 /);
    await expect(askBig(client, 200_000)).resolves.toBe('ok');
  });

  test('the server refuses metadata of 100 KB, and serves the next call', async () => {
    await using world = await startTestServer();
    const big = new Metadata();
    big.set('authorization', 'x'.repeat(100_000));
    await expect(ask(world.client(), big)).resolves.not.toBe('ok');
    await expect(ask(world.client())).resolves.toBe('ok');
  });

  test('a client may ping often', async () => {
    await using world = await startTestServer();
    const client = world.client(0, {
      'grpc.keepalive_time_ms': 20,
      'grpc.keepalive_timeout_ms': 20_000,
      'grpc.keepalive_permit_without_calls': 1,
    });
    const call = client.attach(token());
    call.on('error', () => undefined);
    const ended = once(call, 'status').then(() => 'ended');
    call.write(HELLO);
    await once(call, 'data');
    const asked = new Promise((resolve) => {
      setTimeout(resolve, 1_000, 'still there');
    });
    await expect(Promise.race([ended, asked])).resolves.toBe('still there');
  });

  test('the server notices a host that falls silent', async () => {
    await using world = await startTestServer({ limits: { pingMs: 200, pingTimeoutMs: 200 } });
    const socket = await world.dial();
    socket.write(PREFACE);
    socket.resume();
    await once(socket, 'close');
    await waitUntil(() => world.server.connections.unauthenticated === 0, { what: 'it to be forgotten' });
    expect(world.events).toEqual([]);
  });

  test('a connection carries no more streams at once than allowed', async () => {
    await using world = await startTestServer({ limits: { streamsPerConnection: 2 } });
    const client = world.client();
    await expect(ask(client)).resolves.toBe('ok');
    const calls = [1, 2, 3].map(() => client.attach(token()));
    for (const call of calls) {
      call.on('error', () => undefined);
      call.write(HELLO);
    }
    await Promise.all(calls.slice(0, 2).map((call) => once(call, 'data')));
    expect(world.streams).toHaveLength(2);
    calls[0]?.end();
    await waitUntil(() => world.streams.length === 3, { what: 'the third to take the place of the first' });
  });

  test('each listener serves its own services and no others', async () => {
    using folder = new TemporaryDir();
    await using world = await startTestServer({
      listeners: (service) => [
        plaintext('127.0.0.1:0', [service]),
        plaintext(`unix:${folder.join('admin')}`, [{ definition: AdminService, implementation: {} }]),
      ],
    });
    await expect(ask(world.client(0))).resolves.toBe('ok');
    await expect(ask(world.client(1))).resolves.toMatch(/^12 /);
  });

  test.for(['0.0.0.0:0', '[::]:0', 'companion.test:5680'])(
    'the server refuses %s without TLS',
    async (address) => {
      const start = startTestServer({ listeners: (service) => [plaintext(address, [service])] });
      await expect(start).rejects.toThrow(
        expect.objectContaining({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('without TLS: tokens would travel unencrypted') as string,
        }),
      );
    },
  );

  test('no listener starts if one cannot', async () => {
    await using world = await startTestServer();
    const [taken = ''] = world.server.addresses;
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    const start = startGrpcServer({
      listeners: [plaintext(`unix:${path}`, []), plaintext(taken, [])],
      limits: DEFAULT_LIMITS,
      clock: systemClock,
      events: { connectionRefused: () => undefined, handshakeFailed: () => undefined },
    });
    await expect(start).rejects.toThrow(
      expect.objectContaining({
        code: 'LISTENER_FAILED',
        message: `Cannot listen on ${taken}: listen EADDRINUSE: address already in use ${taken}`,
      }),
    );
    await using again = await startTestServer({
      listeners: (service) => [plaintext(`unix:${path}`, [service])],
    });
    await expect(ask(again.client())).resolves.toBe('ok');
  });
});
