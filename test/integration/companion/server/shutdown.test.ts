import { once } from 'node:events';
import { readFileSync } from 'node:fs';

import { credentials } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';

import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { ServerCertificate } from '../../../../program/server-certificate.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import { ask, HELLO, makeCertificate, startTestServer, token, type TestServer } from './server-world.ts';

async function openStream(world: TestServer) {
  const stream = world.client().attach(token());
  const ended = new Promise<number | undefined>((resolve) => {
    stream.on('error', (error: { readonly code?: number }) => {
      resolve(error.code);
    });
    stream.on('end', () => {
      resolve(0);
    });
  });
  stream.write(HELLO);
  await once(stream, 'data');
  return { stream, ended };
}

/** The last timer goes with the last connection, which closes a moment later. */
async function untilUnarmed(clock: FakeClock): Promise<void> {
  await waitUntil(() => clock.armed === 0, { what: 'no timer to be left' });
}

describe('shutDown()', () => {
  test('lets a call in progress end, and accepts no new call', async () => {
    const clock = new FakeClock();
    await using world = await startTestServer({ clock });
    const { stream, ended } = await openStream(world);
    const shutDown = world.server.shutDown(5_000);
    await expect(ask(world.client())).resolves.toMatch(/^14 /);
    stream.write(HELLO);
    await once(stream, 'data');
    stream.end();
    await expect(ended).resolves.toBe(0);
    await shutDown;
    await untilUnarmed(clock);
  });

  test('cuts a call that does not end, and ends', async () => {
    const clock = new FakeClock();
    await using world = await startTestServer({ clock });
    const { stream, ended } = await openStream(world);
    const shutDown = world.server.shutDown(5_000);
    clock.advance(4_999);
    stream.write(HELLO);
    await once(stream, 'data');
    clock.advance(1);
    await expect(ended).resolves.toBe(14);
    await shutDown;
    expect(world.server.connections).toEqual({ authenticated: 0, unauthenticated: 0 });
    await untilUnarmed(clock);
  });

  test('does not wait for clients without a call in progress, nor for silent connections', async () => {
    const clock = new FakeClock();
    await using world = await startTestServer({ clock });
    await expect(ask(world.client())).resolves.toBe('ok');
    await world.dial();
    const shutDown = world.server.shutDown(5_000);
    clock.advance(250);
    await shutDown;
    await untilUnarmed(clock);
  });

  test('does not wait for a TLS handshake', async () => {
    using folder = new TemporaryDir();
    const clock = new FakeClock();
    const certificate = new ServerCertificate(
      { ...makeCertificate(folder, 'server'), clientCaFile: undefined },
      { certificateReloaded: () => undefined, certificateBroken: () => undefined },
    );
    await using world = await startTestServer({
      clock,
      listeners: (service) => [
        { address: parseListenerAddress('127.0.0.1:0'), certificate, services: [service] },
      ],
    });
    const trusting = credentials.createSsl(readFileSync(folder.join('ca.crt')));
    await expect(ask(world.client(0, {}, trusting))).resolves.toBe('ok');
    const slow = await world.dial();
    slow.write(Buffer.of(22, 3, 1, 2, 0, 1));
    const shutDown = world.server.shutDown(5_000);
    clock.advance(250);
    await shutDown;
    await untilUnarmed(clock);
  });

  test('may be called twice', async () => {
    await using world = await startTestServer();
    const first = world.server.shutDown(60_000);
    expect(world.server.shutDown(0)).toBe(first);
    await first;
  });
});
