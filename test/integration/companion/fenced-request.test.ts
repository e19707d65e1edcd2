import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { OperationalError } from '../../../kernel/errors.ts';
import { RestClient } from '../../../kuma/rest-client.io.ts';
import { TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import type { FencedDeletePlan } from '../../support/fenced-delete-child.ts';
import { WireServer } from '../../support/wire-server.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { processState } from '../../support/world/processes.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const CHILD = join(import.meta.dirname, '..', '..', 'support', 'fenced-delete-child.ts');
const CA_FILE = join(TLS_FIXTURES, 'ca.crt');
const FENCE_LOST = new OperationalError('FENCE_LOST', 'The hold may have ended');

const WAYS = [
  { scheme: 'http', connection: 'fresh' },
  { scheme: 'http', connection: 'reused' },
  { scheme: 'https', connection: 'fresh' },
  { scheme: 'https', connection: 'reused' },
] as const;

describe.for(WAYS)('a fenced DELETE over $scheme on a $connection connection', ({ scheme, connection }) => {
  let server: WireServer;
  let client: RestClient;
  const { signal } = new AbortController();
  const warm = connection === 'reused' ? ['GET /warm'] : [];

  beforeEach(async () => {
    server = await WireServer.start(scheme);
    client = clientOf(server.url);
    if (connection === 'reused') await client.get('warm', signal);
  });

  afterEach(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });

  test('arrives once, after one check', async () => {
    const seenAtCheck: number[] = [];
    const answer = await client.deleteFenced('thing', () => seenAtCheck.push(server.requests.length), signal);
    expect(answer).toMatchObject({ status: 200, body: {} });
    expect(seenAtCheck).toEqual([warm.length]);
    expect(server.requests).toEqual([...warm, 'DELETE /thing']);
    expect(server.received).toHaveLength(1);
  });

  test('is never written if the check throws', async () => {
    const refused = client.deleteFenced(
      'thing',
      () => {
        throw FENCE_LOST;
      },
      signal,
    );
    await expect(refused).rejects.toBe(FENCE_LOST);
    // What comes after it on the same server has arrived: so would it have.
    await client.get('after', signal);
    expect(server.requests).toEqual([...warm, 'GET /after']);
    expect(server.received.join('')).not.toContain('DELETE');
  });

  test('is not sent again when the connection is lost', async () => {
    server.onRequest = () => 'hang up';
    const lost = client.deleteFenced('thing', () => {}, signal);
    await expect(lost).rejects.toMatchObject({ code: 'ENDPOINT_UNREACHABLE' });
    server.onRequest = () => 'answer';
    await client.get('after', signal);
    expect(server.requests).toEqual([...warm, 'DELETE /thing', 'GET /after']);
  });

  test('is neither checked nor written after the caller has given up', async () => {
    const giveUp = new AbortController();
    let checks = 0;
    const given = client.deleteFenced('thing', () => (checks += 1), giveUp.signal);
    giveUp.abort(FENCE_LOST);
    await expect(given).rejects.toBe(FENCE_LOST);
    await client.get('after', signal);
    expect(checks).toBe(0);
    expect(server.requests).toEqual([...warm, 'GET /after']);
  });

  test('is checked after a process wakes that was stopped with an open connection', async () => {
    using dir = new TemporaryDir();
    const plan = { ...planOf(server), connection, halt: 'stop', file: dir.join('lost') } as const;
    await using child = start(plan);
    await waitUntil(() => processState(child.pid) === 'T', { what: 'the child to stop', budgetMs: 30_000 });
    writeFileSync(plan.file, '');
    child.signal('SIGCONT');
    expect((await child.exited).code).toBe(0);
    expect(JSON.parse(child.stdout)).toEqual({ code: 'FENCE_LOST' });
    expect(server.received.join('')).not.toContain('DELETE');
  });

  test('is written before a process stops running right after the check', async () => {
    using dir = new TemporaryDir();
    const plan = { ...planOf(server), connection, halt: 'block', file: dir.join('arrived') } as const;
    server.onRequest = (request) => {
      if (request.startsWith('DELETE')) writeFileSync(plan.file, '');
      return 'answer';
    };
    await using child = start(plan);
    await child.exited;
    expect(JSON.parse(child.stdout)).toEqual({ status: 200, arrived: true });
  });
});

test('a fenced DELETE is not written to an untrusted server', async () => {
  await using server = await WireServer.start('https');
  const client = clientOf(server.url, readFileSync(join(TLS_FIXTURES, 'other-ca.crt'), 'utf8'));
  let checks = 0;
  const refused = client.deleteFenced('thing', () => (checks += 1), new AbortController().signal);
  await expect(refused).rejects.toMatchObject({ code: 'ENDPOINT_UNTRUSTED' });
  expect({ checks, received: server.received.join('') }).toEqual({ checks: 0, received: '' });
  client.close();
});

function clientOf(url: URL, ca: string = readFileSync(CA_FILE, 'utf8')): RestClient {
  return new RestClient({
    url,
    tls: { ca, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: () => undefined,
  });
}

function planOf(server: WireServer): Pick<FencedDeletePlan, 'url' | 'caFile'> {
  return { url: server.url.href, caFile: CA_FILE };
}

function start(plan: FencedDeletePlan): ManagedProcess {
  return new ManagedProcess({ command: process.execPath, argv: [CHILD, JSON.stringify(plan)] });
}
