import { once } from 'node:events';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';

import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';

import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { ServerCertificate } from '../../../../program/server-certificate.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import { ask, HELLO, makeCertificate, startTestServer, token, type TestServer } from './server-world.ts';

interface TlsWorld extends AsyncDisposable {
  readonly folder: TemporaryDir;
  readonly server: TestServer;
  readonly certificate: ServerCertificate;
  /** What became of new files. */
  readonly reloads: readonly string[];
}

async function startTlsServer({ clientCa = false, firstCallMs = 10_000 } = {}): Promise<TlsWorld> {
  const folder = new TemporaryDir();
  const reloads: string[] = [];
  const files = {
    ...makeCertificate(folder, 'server'),
    clientCaFile: clientCa ? folder.join('ca.crt') : undefined,
  };
  const certificate = new ServerCertificate(files, {
    certificateReloaded: () => {
      reloads.push('reloaded');
    },
    certificateBroken: (_file, err) => {
      reloads.push(err instanceof Error ? err.message : String(err));
    },
  });
  const server = await startTestServer({
    limits: { firstCallMs },
    listeners: (service) => [
      { address: parseListenerAddress('127.0.0.1:0'), certificate, services: [service] },
    ],
  });
  return {
    folder,
    server,
    certificate,
    reloads,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

function trusting(folder: TemporaryDir, authority = 'ca', own?: string): ChannelCredentials {
  const read = (name: string): Buffer => readFileSync(folder.join(name));
  if (own === undefined) return credentials.createSsl(read(`${authority}.crt`));
  return credentials.createSsl(read(`${authority}.crt`), read(`${own}.key`), read(`${own}.crt`));
}

/** A handshake by hand. @returns the agreed parameters, or the error's code */
async function shakeHands(world: TlsWorld, options: ConnectionOptions): Promise<string> {
  const socket: TLSSocket = connect({
    socket: await world.server.dial(),
    ca: readFileSync(world.folder.join('ca.crt')),
    servername: 'localhost',
    ...options,
  });
  const agreed = await Promise.race([
    once(socket, 'secureConnect').then(() => `${socket.getProtocol()} ${socket.alpnProtocol}`),
    once(socket, 'error').then(([error]) => (error as NodeJS.ErrnoException).code ?? 'error'),
  ]).catch((error: unknown) => (error as NodeJS.ErrnoException).code ?? 'error');
  socket.destroy();
  return agreed;
}

describe('TLS', () => {
  test('serves a client that trusts the authority, and no other', async () => {
    await using world = await startTlsServer();
    const { folder, server } = world;
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toBe('ok');
    makeCertificate(folder, 'other', 'other-ca');
    await expect(ask(server.client(0, {}, trusting(folder, 'other-ca')))).resolves.toMatch(/^14 /);
  });

  test.for([
    { offer: 'TLS 1.3', options: { ALPNProtocols: ['h2'] }, agreed: 'TLSv1.3 h2' },
    {
      offer: 'TLS 1.2',
      options: { ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2' },
      agreed: 'TLSv1.2 h2',
    },
    {
      offer: 'TLS 1.1',
      options: {
        ALPNProtocols: ['h2'],
        minVersion: 'TLSv1.1',
        maxVersion: 'TLSv1.1',
        ciphers: 'ALL:@SECLEVEL=0',
      },
      agreed: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    },
    {
      offer: 'HTTP/1.1 alone',
      options: { ALPNProtocols: ['http/1.1'] },
      agreed: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    },
  ] as const)('$offer: $agreed', async ({ options, agreed }) => {
    await using world = await startTlsServer();
    const { ALPNProtocols, ...rest } = options;
    await expect(shakeHands(world, { ...rest, ALPNProtocols: [...ALPNProtocols] })).resolves.toBe(agreed);
  });

  test('with a client CA serves only clients with a certificate of it', async () => {
    await using world = await startTlsServer({ clientCa: true });
    const { folder, server } = world;
    makeCertificate(folder, 'agent');
    makeCertificate(folder, 'stranger', 'other-ca');
    await expect(ask(server.client(0, {}, trusting(folder, 'ca', 'agent')))).resolves.toBe('ok');
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toMatch(/^14 /);
    await expect(ask(server.client(0, {}, trusting(folder, 'ca', 'stranger')))).resolves.toMatch(/^14 /);
    await waitUntil(() => server.events.length > 1, { what: 'both failed handshakes to be told' });
  });

  test('accepts no plain text, and serves others', async () => {
    await using world = await startTlsServer();
    await expect(ask(world.server.client())).resolves.toMatch(/^14 /);
    await expect(ask(world.server.client(0, {}, trusting(world.folder)))).resolves.toBe('ok');
  });

  test('begins no handshake with a client that has hung up', async () => {
    await using world = await startTlsServer();
    const gone = await world.server.dial();
    gone.resume();
    const closed = once(gone, 'close');
    // An attempt at a handshake would fail and be reported.
    gone.end('no ClientHello');
    await closed;
    await expect(ask(world.server.client(0, {}, trusting(world.folder)))).resolves.toBe('ok');
    expect(world.server.events).toEqual([]);
  });

  test('cuts a handshake that never ends, and serves others meanwhile', async () => {
    await using world = await startTlsServer({ firstCallMs: 1_500 });
    const slow = await world.server.dial();
    slow.resume();
    const closed = once(slow, 'close');
    // The beginning of a ClientHello that announces 512 bytes.
    for (const byte of [22, 3, 1, 2, 0, 1, 0]) slow.write(Buffer.of(byte));
    await expect(ask(world.server.client(0, {}, trusting(world.folder)))).resolves.toBe('ok');
    await closed;
    expect(world.server.events).toEqual([{ event: 'refused', what: 'first-call' }]);
    expect(world.server.server.connections).toEqual({ authenticated: 1, unauthenticated: 0 });
  });
});

describe('new certificate files', () => {
  test('apply to new connections, and open ones stay', async () => {
    await using world = await startTlsServer();
    const { folder, server } = world;
    const before = server.client(0, {}, trusting(folder));
    const stream = before.attach(token());
    stream.write(HELLO);
    await once(stream, 'data');

    makeCertificate(folder, 'renewed', 'new-ca');
    copyFileSync(folder.join('renewed.crt'), folder.join('server.crt'));
    copyFileSync(folder.join('renewed.key'), folder.join('server.key'));
    world.certificate.reload();

    expect(world.reloads).toEqual(['reloaded']);
    await expect(ask(server.client(0, {}, trusting(folder, 'new-ca')))).resolves.toBe('ok');
    await expect(ask(server.client(0, {}, trusting(folder, 'ca')))).resolves.toMatch(/^14 /);
    stream.write(HELLO);
    await once(stream, 'data');
    stream.end();
    await once(stream, 'status');
  });

  test('that are broken change nothing and are logged once', async () => {
    await using world = await startTlsServer();
    const { folder, server } = world;
    const good = readFileSync(folder.join('server.crt'));
    const expiresAtMs = world.certificate.expiresAtMs;
    writeFileSync(folder.join('server.crt'), 'half a certifi');
    world.certificate.reload();
    world.certificate.reload();
    expect(world.reloads).toEqual([expect.stringContaining('PEM')]);
    expect(world.certificate.expiresAtMs).toBe(expiresAtMs);
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toBe('ok');

    writeFileSync(folder.join('server.crt'), good);
    world.certificate.reload();
    expect(world.reloads).toHaveLength(2);
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toBe('ok');
  });

  test('that are missing change nothing, are logged once, and may come back', async () => {
    await using world = await startTlsServer();
    const { folder, server } = world;
    const good = readFileSync(folder.join('server.key'));
    rmSync(folder.join('server.key'));
    world.certificate.reload();
    world.certificate.reload();
    expect(world.reloads).toEqual([expect.stringContaining('ENOENT')]);
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toBe('ok');

    writeFileSync(folder.join('server.key'), good);
    world.certificate.reload();
    rmSync(folder.join('server.key'));
    world.certificate.reload();
    const gone: unknown = expect.stringContaining('ENOENT');
    expect(world.reloads).toEqual([gone, 'reloaded', gone]);
  });

  test('of which only one is new wait for the other', async () => {
    await using world = await startTlsServer();
    const { folder, server } = world;
    makeCertificate(folder, 'renewed', 'new-ca');
    copyFileSync(folder.join('renewed.crt'), folder.join('server.crt'));
    world.certificate.reload();
    await expect(ask(server.client(0, {}, trusting(folder)))).resolves.toBe('ok');
    copyFileSync(folder.join('renewed.key'), folder.join('server.key'));
    world.certificate.reload();
    await expect(ask(server.client(0, {}, trusting(folder, 'new-ca')))).resolves.toBe('ok');
    expect(world.reloads).toEqual([expect.stringContaining('key values mismatch'), 'reloaded']);
  });

  test('are noticed without a signal, until the watch ends', async () => {
    await using world = await startTlsServer();
    const clock = new FakeClock();
    const end = world.certificate.watch(clock);
    clock.advance(60_000);
    expect(world.reloads).toEqual([]);
    makeCertificate(world.folder, 'server');
    clock.advance(60_000);
    expect(world.reloads).toEqual(['reloaded']);
    end();
    expect(clock.armed).toBe(0);
  });

  test.for([
    { what: 'that are not there', certificate: 'nothing.crt', key: 'server.key', problem: 'ENOENT' },
    { what: 'of which one is no PEM', certificate: 'extensions', key: 'server.key', problem: 'PEM' },
    { what: 'that do not fit', certificate: 'server.crt', key: 'ca.key', problem: 'key values mismatch' },
  ])('$what are refused at the start', ({ certificate, key, problem }) => {
    using folder = new TemporaryDir();
    makeCertificate(folder, 'server');
    const files = {
      certificateFile: folder.join(certificate),
      keyFile: folder.join(key),
      clientCaFile: undefined,
    };
    const events = { certificateReloaded: () => undefined, certificateBroken: () => undefined };
    expect(() => new ServerCertificate(files, events)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(problem) as string,
      }),
    );
  });
});
