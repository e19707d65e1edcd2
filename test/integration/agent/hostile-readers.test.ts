import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createPlainServer } from 'node:net';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { askAgent } from '../../../agent/control/control-socket.io.ts';
import { envoyFinder } from '../../../agent/envoy/envoy.io.ts';
import { dataplaneToken } from '../../../agent/identity/dataplane-token.io.ts';
import { userToken } from '../../../agent/object/user-token.io.ts';
import { readIfNamed } from '../../../agent/run/connection.ts';
import { keptText } from '../../../program/kept-files.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { tlsFiles } from '../../../kuma/tls-files.io.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

const OTHER_UID = 65_534;
/** A reader that waits for a FIFO, or for the end of an endless file, takes longer. */
const SOON_MS = 3_000;
const ENDLESS_BYTES = 3 * 1024 ** 3;

let dir: TemporaryDir;
let path: string;
const after: (() => unknown)[] = [];

beforeEach(() => {
  dir = new TemporaryDir();
  path = dir.join('left-by-another-user');
});

afterEach(async () => {
  for (const end of after.splice(0)) await end();
  dir[Symbol.dispose]();
});

const TRAPS: Readonly<Record<string, (at: string) => void>> = {
  'a FIFO without a writer': (at) => execFileSync('mkfifo', [at]),
  'a link to a device without an end': (at) => symlinkSync('/dev/zero', at),
  'a sparse file of 3 GiB': (at) => {
    writeFileSync(at, '');
    truncateSync(at, ENDLESS_BYTES);
  },
};

const READERS: Readonly<Record<string, (at: string) => Promise<unknown>>> = {
  'the dataplane token': (at) => dataplaneToken({ file: at, inline: undefined }).refresh(),
  'the user token': (at) => userToken(at).refresh(),
  'a file of the connection': async (at) => readIfNamed(at),
  'a CA file': async (at) => tlsFiles({ caFile: at }, () => {}),
  'a key of the companion': async (at) =>
    keptText({ path: at, parse: (text) => text, expected: 'a key', onKept: () => {} }),
};

describe.for(Object.entries(TRAPS))('%s', ([, lay]) => {
  test.for(Object.entries(READERS))('is refused as %s, at once', async ([, read]) => {
    lay(path);
    const beganMs = performance.now();
    await expect(read(path)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(performance.now() - beganMs).toBeLessThan(SOON_MS);
  });

  test('is refused as Envoy’s bootstrap, at once', async () => {
    lay(path);
    const beganMs = performance.now();
    expect(await find(path)).toMatchObject({ hidden: expect.stringContaining('bootstrap') as unknown });
    expect(performance.now() - beganMs).toBeLessThan(SOON_MS);
  });
});

test('a file of /proc, which has no size, is read to its end', () => {
  const text = readIfNamed('/proc/self/limits');
  expect(text).toContain('Max open files');
  expect(text?.endsWith('\n')).toBe(true);
});

/** The agent's findings about an Envoy whose command names `bootstrap`; `uid` is the user that runs it. */
async function find(bootstrap: string, uid?: number) {
  // The shell, since another user may not reach the Node below this clone.
  const argv = ['-c', 'echo up; while sleep 1; do :; done', 'envoy', '--config-path', bootstrap];
  const envoy = spawn('/bin/sh', argv, {
    stdio: ['ignore', 'pipe', 'ignore'],
    ...(uid === undefined ? {} : { uid }),
  });
  const ended = once(envoy, 'exit');
  after.push(async () => {
    envoy.kill('SIGKILL');
    // The next test would find it.
    await ended;
  });
  await new Promise((resolve) => envoy.stdout.once('data', resolve));
  return envoyFinder(systemClock).find(process.pid);
}

/** The admin of that Envoy. @throws TypeError if it is not to be asked */
async function adminAt(bootstrap: string, uid?: number) {
  const found = await find(bootstrap, uid);
  if (typeof found === 'string' || !('admin' in found)) throw new TypeError(JSON.stringify(found));
  const { admin } = found;
  after.push(() => {
    admin.close();
  });
  return admin;
}

function bootstrapFor(address: Readonly<Record<string, unknown>>): string {
  writeFileSync(path, JSON.stringify({ admin: { address } }));
  chmodSync(dir.path, 0o755);
  return path;
}

async function listening(server: Server, at: string): Promise<void> {
  after.push(() => server.close());
  after.push(() => {
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
}

/** The socket of Envoy’s admin. */
function socket(): string {
  return dir.join('admin.sock');
}

test('a link in place of a control socket is not followed', async () => {
  const asked: string[] = [];
  const server = createPlainServer((caller) => caller.on('data', (bytes) => asked.push(bytes.toString())));
  after.push(() => server.close());
  await once(server.listen(socket()), 'listening');
  symlinkSync(socket(), path);
  const how = { clock: systemClock, budgetMs: SOON_MS };
  await expect(askAgent(path, { v: 1, ask: 'status' }, how)).rejects.toMatchObject({
    code: 'CONTROL_UNAVAILABLE',
    message: expect.stringContaining('not a socket of an agent') as unknown,
  });
  expect(asked).toEqual([]);
});

describe('Envoy’s admin', () => {
  test.for([
    { name: 'never answers', answer: () => {} },
    {
      name: 'answers without an end',
      answer: (write: (chunk: Buffer) => boolean) => {
        const chunk = Buffer.alloc(1024 * 1024, 'x');
        const more = (): void => {
          if (write(chunk)) setImmediate(more);
        };
        more();
      },
    },
  ])('that $name is abandoned without a trace', async ({ answer }) => {
    await listening(
      createServer((_request, response) => {
        answer((chunk) => {
          response.write(chunk);
          return !response.destroyed;
        });
      }),
      socket(),
    );
    const admin = await adminAt(bootstrapFor({ pipe: { path: socket() } }));
    const beforeBytes = process.memoryUsage().rss;
    await expect(admin.stats('x')).rejects.toMatchObject({
      code: expect.stringMatching(/^(DEADLINE_EXCEEDED|ANSWER_UNREADABLE)$/) as unknown,
    });
    expect(process.memoryUsage().rss - beforeBytes).toBeLessThan(400 * 1024 * 1024);
  });

  test('accepts a change of its health, by a POST without a body', async () => {
    const asked: string[] = [];
    await listening(
      createServer((request, response) => {
        asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
        response.end('OK');
      }),
      socket(),
    );
    const admin = await adminAt(bootstrapFor({ pipe: { path: socket() } }));
    await admin.healthcheck('fail');
    expect(asked).toEqual(['POST /healthcheck/fail']);
  });

  test.runIf(process.getuid?.() === 0).for([
    { name: 'at another host', make: () => ({ socketAddress: { address: '192.0.2.1', portValue: 80 } }) },
    {
      name: 'at a socket of root',
      make: () => ({ pipe: { path: socket() } }),
    },
    {
      name: 'at a link to a socket of root',
      make: () => {
        symlinkSync(socket(), dir.join('link.sock'));
        return { pipe: { path: dir.join('link.sock') } };
      },
    },
    { name: 'at a file', make: () => ({ pipe: { path: path } }) },
  ])('of another user is not used $name', async ({ make }) => {
    let asked = 0;
    await listening(
      createServer((_request, response) => {
        asked += 1;
        response.end();
      }),
      socket(),
    );
    const found = await find(bootstrapFor(make()), OTHER_UID);
    expect(found).toEqual({
      hidden: expect.stringMatching(/another (host|user)|not a socket of Envoy/) as unknown,
    });
    expect(asked).toBe(0);
  });

  test.runIf(process.getuid?.() === 0)('of another user is reached at a socket of that user', async () => {
    await listening(
      createServer((_request, response) => response.end('a: 1')),
      socket(),
    );
    chownSync(socket(), OTHER_UID, OTHER_UID);
    const admin = await adminAt(bootstrapFor({ pipe: { path: socket() } }), OTHER_UID);
    expect(await admin.stats('a')).toBe('a: 1');
  });

  test('an error about a bootstrap that is another file does not quote it', async () => {
    writeFileSync(path, 'root:*:1:0:\n\t{secret: [unclosed\n');
    const found = await find(path);
    expect(JSON.stringify(found)).not.toContain('secret');
  });
});
