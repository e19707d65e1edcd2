import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane, TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { type FaultAction } from '../../support/kuma/faults.ts';

const BODY = JSON.stringify({
  type: 'Dataplane',
  mesh: 'default',
  name: 'b1',
  networking: { address: '127.0.0.1', inbound: [{ port: 10001, tags: { 'kuma.io/service': 'backend' } }] },
});

let controlPlane: ControlPlane;

beforeEach(async () => {
  controlPlane = await ControlPlane.start();
  expect((await fetch(objectUrl(), { method: 'PUT', body: BODY })).status).toBe(201);
});

afterEach(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

function objectUrl(): string {
  return `${controlPlane.httpUrl}/meshes/default/dataplanes/b1`;
}

function remove(signal?: AbortSignal): Promise<Response> {
  return fetch(objectUrl(), {
    method: 'DELETE',
    redirect: 'manual',
    ...(signal === undefined ? {} : { signal }),
  });
}

function isThere(): boolean {
  return controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: 'b1' }) !== undefined;
}

function inject(action: FaultAction): void {
  controlPlane.faults.add({ method: 'DELETE', path: '/dataplanes/b1$', times: 1, action });
}

describe('faults', () => {
  test.for([
    { status: 503, headers: { 'retry-after': '1' } },
    { status: 429 },
    { status: 405 },
    { status: 302, headers: { location: 'http://elsewhere.test/' } },
    { status: 200, headers: { 'content-type': 'text/html' }, body: '<html></html>' },
  ])('an answer of $status replaces one answer, of the matching request only', async (answer) => {
    inject({ kind: 'answer', ...answer });
    expect((await fetch(objectUrl())).status).toBe(200);
    const faulty = await remove();
    expect(faulty.status).toBe(answer.status);
    for (const [name, value] of Object.entries(answer.headers ?? {}))
      expect(faulty.headers.get(name)).toBe(value);
    expect(isThere()).toBe(true);
    expect((await remove()).status).toBe(200);
    expect(isThere()).toBe(false);
  });

  test('a request can hang without an effect', async () => {
    inject({ kind: 'hang' });
    await expect(remove(AbortSignal.timeout(100))).rejects.toThrow('aborted due to timeout');
    expect(controlPlane.journal.matching('DELETE', /b1$/)).toHaveLength(1);
    expect(isThere()).toBe(true);
  });

  test('an answer can come late', async () => {
    inject({ kind: 'slow', delayMs: 150 });
    const startedAt = performance.now();
    expect((await remove()).status).toBe(200);
    expect(performance.now() - startedAt).toBeGreaterThan(140);
  });

  test.for(['half-body', 'reset-after'] as const)(
    '%s carries the request out and loses the answer',
    async (kind) => {
      expect(isThere()).toBe(true);
      inject({ kind });
      await expect(remove().then((response) => response.text())).rejects.toThrow(
        /^(fetch failed|terminated)$/,
      );
      expect(isThere()).toBe(false);
    },
  );

  test('reset carries nothing out', async () => {
    inject({ kind: 'reset' });
    await expect(remove()).rejects.toThrow('fetch failed');
    expect(isThere()).toBe(true);
  });

  test('connections can be refused and accepted again', async () => {
    await controlPlane.refuseConnections(['http']);
    await expect(remove()).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    await controlPlane.acceptConnections(['http']);
    expect((await remove()).status).toBe(200);
  });

  test('a paused control plane accepts connections, and answers after it is resumed', async () => {
    controlPlane.pause();
    const answer = remove();
    await expect(
      Promise.race([answer, new Promise((late) => setTimeout(late, 100, 'silent'))]),
    ).resolves.toBe('silent');
    expect(isThere()).toBe(true);
    controlPlane.resume();
    expect((await answer).status).toBe(200);
  });
});

describe('journal', () => {
  test('shows the sender of credentials, and finds a text wherever it was sent', async () => {
    await fetch(objectUrl(), { headers: { authorization: 'Bearer secret-token' } });
    expect(controlPlane.journal.matching('GET', /b1$/).map(({ authorization }) => authorization)).toEqual([
      true,
    ]);
    expect(controlPlane.journal.sawInRest('secret-token')).toBe(true);
    expect(controlPlane.journal.sawInRest('other-token')).toBe(false);
  });
});

function head(url: string, ca: string): Promise<number | string> {
  return new Promise((resolve) => {
    const call = request(url, { ca: readFileSync(join(TLS_FIXTURES, ca)), agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    call.end();
  });
}

describe('TLS', () => {
  test.for([
    ['server', 'ca.crt', 200],
    ['server', 'other-ca.crt', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ['expired', 'ca.crt', 'CERT_HAS_EXPIRED'],
    ['wrong-name', 'ca.crt', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const)('certificate "%s", checked with %s, gives %s', async ([certificate, ca, outcome]) => {
    await using secured = await ControlPlane.start({ certificate });
    expect(await head(`${secured.httpsUrl}/`, ca)).toBe(outcome);
  });
});
