import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { formatListenerAddress, parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { ask, plaintext, startTestServer, token, type TestServer } from './server-world.ts';

const start = (path: string): Promise<TestServer> =>
  startTestServer({ listeners: (service) => [plaintext(`unix:${path}`, [service])] });

/** A process that listens on `path` and is killed: its socket stays. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('ready'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
}

describe('a listener on a Unix socket', () => {
  test.for([
    ['0600', undefined, 0o600],
    ['0660', 0o660, 0o660],
  ] as const)('is opened with mode %s, serves, and is gone afterwards', async ([, mode, expected]) => {
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    const address = parseListenerAddress(`unix:${path}`, mode);
    const world = await startTestServer({
      listeners: (service) => [{ address, certificate: undefined, services: [service] }],
    });
    expect(statSync(path).mode & 0o777).toBe(expected);
    await expect(ask(world.client())).resolves.toBe('ok');
    await world[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
  });

  test('limits no unauthenticated connections: its mode decides who may connect', async () => {
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    await using world = await startTestServer({
      limits: { firstCallMs: 200, connections: 0 },
      listeners: (service) => [plaintext(`unix:${path}`, [service])],
    });
    const client = world.client();
    await expect(ask(client, token('bad'))).resolves.toBe('ok');
    const later = new Promise((resolve) => {
      setTimeout(resolve, 500);
    });
    await later;
    expect(client.getChannel().getConnectivityState(false)).toBe(2);
    expect(world.events).toEqual([]);
  });

  test('of a dead process is replaced', async () => {
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    await leaveStaleSocket(path);
    expect(existsSync(path)).toBe(true);
    await using world = await start(path);
    await expect(ask(world.client())).resolves.toBe('ok');
  });

  test('of a living process stays', async () => {
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    await using world = await start(path);
    await expect(start(path)).rejects.toThrow(
      expect.objectContaining({
        code: 'LISTENER_FAILED',
        message: `Cannot listen on unix:${path}: another process listens on it`,
      }),
    );
    await expect(ask(world.client())).resolves.toBe('ok');
  });

  test('does not replace a file', async () => {
    using folder = new TemporaryDir();
    const path = folder.join('admin');
    writeFileSync(path, 'precious');
    await expect(start(path)).rejects.toThrow(
      expect.objectContaining({
        code: 'LISTENER_FAILED',
        message: `Cannot listen on unix:${path}: a file of that name is not a socket`,
      }),
    );
    expect(existsSync(path)).toBe(true);
  });

  test('in a missing folder is refused', async () => {
    using folder = new TemporaryDir();
    const path = folder.join('nowhere', 'admin');
    await expect(start(path)).rejects.toThrow(
      expect.objectContaining({
        code: 'LISTENER_FAILED',
        message: `Cannot listen on unix:${path}: there is no folder ${folder.join('nowhere')}`,
      }),
    );
  });
});

describe('parseListenerAddress()', () => {
  test.for([
    ['127.0.0.1:5690', { kind: 'tcp', host: '127.0.0.1', port: 5690 }],
    ['[::1]:0', { kind: 'tcp', host: '::1', port: 0 }],
    ['companion.test:65535', { kind: 'tcp', host: 'companion.test', port: 65_535 }],
    ['unix:/run/admin', { kind: 'unix', path: '/run/admin', mode: 0o600 }],
    [`unix:/${'x'.repeat(106)}`, { kind: 'unix', path: `/${'x'.repeat(106)}`, mode: 0o600 }],
  ] as const)('reads %s, and it is written the same', ([text, address]) => {
    expect(parseListenerAddress(text)).toEqual(address);
    expect(formatListenerAddress(parseListenerAddress(text))).toBe(text);
  });

  test.for([
    ['', 'Cannot listen on "": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['5690', 'Cannot listen on "5690": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    [':5690', 'Cannot listen on ":5690": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['::1:5690', 'Cannot listen on "::1:5690": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['host:65536', 'Cannot listen on "host:65536": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['host:http', 'Cannot listen on "host:http": expected HOST:PORT, [IPV6]:PORT or unix:PATH'],
    ['unix:', 'Cannot listen on "unix:": a path is expected after "unix:"'],
    [
      `unix:/${'ä'.repeat(54)}`,
      `Cannot listen on "unix:/${'ä'.repeat(54)}": the path has 109 bytes, a Unix socket's at most 107`,
    ],
  ] as const)('refuses "%s"', ([text, message]) => {
    expect(() => parseListenerAddress(text)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message }),
    );
  });
});
