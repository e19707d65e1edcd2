import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { kumaControlPlanes } from '../../../control-plane/control-planes/kuma-control-planes.io.ts';
import type { ControlPlanes } from '../../../control-plane/ports.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import type { DataplaneKey, DataplaneResource } from '../../../kuma/dataplane.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import type { FaultAction } from '../../support/kuma/faults.ts';
import { freePort } from '../../support/world/free-port.ts';

const KEY = keyOf('web-1');
const never = new AbortController().signal;
const unfenced = { beforeSend: () => {}, signal: never };

/** Two control planes of one zone, on one store. */
let one: ControlPlane;
let two: ControlPlane;
let controlPlanes: ControlPlanes;

beforeEach(async () => {
  one = await ControlPlane.start();
  two = await ControlPlane.start({}, one.store);
  controlPlanes = controlPlanesAt(one.httpUrl, two.httpUrl);
  seed('web-1');
});

afterEach(async () => {
  controlPlanes.close();
  await Promise.all([one.stop(), two.stop()]);
});

describe('questions that another control plane may answer better go to the next one', () => {
  test.for<[string, FaultAction]>([
    ['500', { kind: 'answer', status: 500 }],
    ['503', { kind: 'answer', status: 503 }],
    ['429', { kind: 'answer', status: 429, headers: { 'retry-after': '3' } }],
    ['a proxy’s 404', { kind: 'answer', status: 404, body: '<html>not here</html>' }],
    ['a reset', { kind: 'reset' }],
    ['half an answer', { kind: 'half-body' }],
    ['nothing at all', { kind: 'hang' }],
  ])('%s', async ([, action]) => {
    one.faults.add({ action });
    expect(await controlPlanes.read(KEY, never)).toMatchObject({ name: 'web-1' });
    expect(asked()).toEqual({ one: 1, two: 1 });
    // From now on the companion asks the one first that answered.
    expect(await controlPlanes.overview(KEY, never)).toMatchObject({ overview: { name: 'web-1' } });
    expect(asked()).toEqual({ one: 1, two: 2 });
  });

  test('the error is retryable if no control plane listens', async () => {
    await one.refuseConnections();
    expect(await controlPlanes.delete(KEY, () => {}, never)).toBe('deleted');
    expect(one.store.list('Dataplane')).toEqual([]);
  });

  test('go to each one once; if none can answer, the error has all failures and the first one’s code', async () => {
    one.faults.add({ action: { kind: 'answer', status: 503, headers: { 'retry-after': '7' } } });
    two.faults.add({ action: { kind: 'reset' } });
    const failed = controlPlanes.read(KEY, never);
    await expect(failed).rejects.toMatchObject({
      code: 'ENDPOINT_BUSY',
      details: { status: 503, retryAfterMs: 7_000 },
      message: expect.stringMatching(/status 503.*; Cannot GET/),
    });
    expect(asked()).toEqual({ one: 1, two: 1 });
  });
});

describe('a refusal by one control plane', () => {
  test.for([400, 401, 403])('counts for all with %i in the words of Kuma', async (status) => {
    const body = JSON.stringify({ type: '/std-errors', status, title: 'Could not delete a resource' });
    one.faults.add({ action: { kind: 'answer', status, body } });
    const refused = controlPlanes.delete(KEY, () => {}, never);
    await expect(refused).rejects.toMatchObject({ code: 'ENDPOINT_REJECTED', details: { status } });
    expect(asked()).toEqual({ one: 1, two: 0 });
    expect(one.store.list('Dataplane')).toHaveLength(1);
  });

  test.for([400, 401, 403, 404, 405])('does not count with %i in other words', async (status) => {
    one.faults.add({ action: { kind: 'answer', status, body: '{"message":"no"}' } });
    expect(await controlPlanes.delete(KEY, () => {}, never)).toBe('deleted');
    expect(asked()).toEqual({ one: 1, two: 1 });
  });
});

describe('a deletion', () => {
  test('whose answer was lost is repeated elsewhere, after another check, and found done', async () => {
    one.faults.add({ method: 'DELETE', action: { kind: 'reset-after' } });
    let checks = 0;
    expect(await controlPlanes.delete(KEY, () => (checks += 1), never)).toBe('already gone');
    expect({ checks, asked: asked() }).toEqual({ checks: 2, asked: { one: 1, two: 1 } });
  });

  test('that lost its fence goes to no other control plane', async () => {
    const lost = new OperationalError('FENCE_LOST', 'The hold may have ended');
    const refused = controlPlanes.delete(
      KEY,
      () => {
        throw lost;
      },
      never,
    );
    await expect(refused).rejects.toBe(lost);
    expect(asked()).toEqual({ one: 0, two: 0 });
  });

  test('that lost its fence while the first one hung does not reach the second', async () => {
    one.faults.add({ action: { kind: 'hang' } });
    const lost = new OperationalError('FENCE_LOST', 'The hold may have ended');
    let checks = 0;
    const refused = controlPlanes.delete(
      KEY,
      () => {
        checks += 1;
        if (checks > 1) throw lost;
      },
      never,
    );
    await expect(refused).rejects.toBe(lost);
    expect(two.journal.requests).toEqual([]);
    expect(one.store.list('Dataplane')).toHaveLength(1);
  });

  test('ends with its caller’s signal, for the caller’s reason', async () => {
    for (const each of [one, two]) each.faults.add({ action: { kind: 'hang' } });
    const caller = new AbortController();
    const deleted = controlPlanes.delete(KEY, () => {}, caller.signal);
    const reason = new OperationalError('DEADLINE_EXCEEDED', 'Cannot wait any longer');
    caller.abort(reason);
    await expect(deleted).rejects.toBe(reason);
  });
});

describe('a look', () => {
  test('asks every control plane, and a problem of one does not affect the others', async () => {
    await one.refuseConnections();
    const [first, second] = await controlPlanes.look(never);
    expect(first).toMatchObject({
      url: one.httpUrl,
      seen: { problem: expect.stringContaining('ECONNREFUSED') },
    });
    expect(second).toMatchObject({ seen: { facts: { instanceId: two.instanceId, mode: 'zone' } } });
  });

  test('ends with its signal without throwing', async () => {
    one.faults.add({ action: { kind: 'hang' } });
    const caller = new AbortController();
    const looks = controlPlanes.look(caller.signal);
    await expect.poll(() => two.journal.requests.length).toBe(2);
    caller.abort(new OperationalError('DEADLINE_EXCEEDED', 'Cannot wait any longer'));
    const [first] = await looks;
    expect(first).toEqual({ url: one.httpUrl, seen: { problem: 'Cannot wait any longer' } });
  });

  test.for([403, 404])('uses Kuma’s defaults if the configuration answers with %i', async (status) => {
    one.faults.add({ path: '/config', action: { kind: 'answer', status } });
    const [first] = await controlPlanes.look(never);
    expect(first).toMatchObject({ seen: { facts: { instanceId: one.instanceId, propagationMs: 2_000 } } });
    expect(first).not.toMatchObject({ seen: { facts: { mode: 'zone' } } });
  });

  test('reports a configuration without an answer as a problem', async () => {
    one.faults.add({ path: '/config', action: { kind: 'answer', status: 500 } });
    const [first] = await controlPlanes.look(never);
    expect(first).toMatchObject({ seen: { problem: expect.stringContaining('status 500') } });
  });

  test('does not take another HTTP server for a control plane, nor shows a credential', async () => {
    one.faults.add({ path: '^/$', action: { kind: 'answer', status: 200, body: '{"name":"nginx"}' } });
    const withPassword = controlPlanesAt(one.httpUrl.replace('//', '//admin:secret@'));
    expect(await withPassword.look(never)).toEqual([
      { url: one.httpUrl, seen: { problem: 'this is not a Kuma control plane' } },
    ]);
    withPassword.close();
  });
});

describe('a list', () => {
  test('has every dataplane of every page, and the clock of the first', async () => {
    for (let index = 0; index < 2_100; index += 1) seed(`many-${index}`);
    const { overviews, clockMs } = await controlPlanes.overviews(never);
    expect(new Set(overviews.map(({ name }) => name)).size).toBe(2_101);
    expect(overviews).toHaveLength(2_101);
    expect(asked()).toEqual({ one: 3, two: 0 });
    expect(Math.abs((clockMs ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  test('takes only the offset from the link to the next page', async () => {
    await using elsewhere = await ControlPlane.start();
    answerList(one, { items: [shown('a')], next: `${elsewhere.httpUrl}/secrets?offset=1000&size=1` }, 1);
    answerList(one, { items: [shown('b')], next: null });
    const { overviews } = await controlPlanes.overviews(never);
    expect(overviews.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(elsewhere.journal.requests).toEqual([]);
    expect(one.journal.requests.map(({ path }) => path)).toEqual([
      '/dataplanes/_overview?size=1000',
      '/dataplanes/_overview?size=1000&offset=1000',
    ]);
  });

  test('shows a duplicate once, as it was seen last', async () => {
    answerList(one, { items: [shown('a', 'old'), shown('b')], next: 'http://x/?offset=1000' }, 1);
    answerList(one, { items: [shown('a', 'new')], next: null }, 1);
    const { overviews } = await controlPlanes.overviews(never);
    expect(overviews.map(({ name, modificationTime }) => [name, modificationTime])).toEqual([
      ['a', 'new'],
      ['b', undefined],
    ]);
  });

  test('leaves out unreadable entries', async () => {
    answerList(one, { items: [{ mesh: 'default' }, shown('b')], next: null });
    expect((await controlPlanes.overviews(never)).overviews.map(({ name }) => name)).toEqual(['b']);
  });

  test.for<[string, unknown]>([
    ['goes round in circles', { items: [shown('a')], next: 'http://x/?offset=1000' }],
    ['goes on after nothing', { items: [], next: 'http://x/?offset=1000' }],
    ['goes on nowhere', { items: [shown('a')], next: 'http://x/' }],
    ['has no overview in it', { items: [{ kind: 'odd' }], next: null }],
    ['is no list', { total: 1 }],
  ])('that %s does not count as a control plane’s', async ([, body]) => {
    const alone = controlPlanesAt(one.httpUrl);
    answerList(one, body);
    await expect(alone.overviews(never)).rejects.toMatchObject({ code: 'ANSWER_UNREADABLE' });
    alone.close();
  });
});

test('an overview of another object than the requested one is rejected', async () => {
  const alone = controlPlanesAt(one.httpUrl);
  one.faults.add({ action: { kind: 'answer', status: 200, body: JSON.stringify(shown('web-2')) } });
  await expect(alone.overview(KEY, never)).rejects.toMatchObject({ code: 'ANSWER_UNREADABLE' });
  await expect(alone.read(KEY, never)).rejects.toMatchObject({ code: 'ANSWER_UNREADABLE' });
  alone.close();
});

test('the companion asks a returned control plane again when the other one ends', async () => {
  await one.refuseConnections();
  await controlPlanes.read(KEY, never);
  await one.acceptConnections();
  await two.refuseConnections();
  expect(await controlPlanes.read(KEY, never)).toMatchObject({ name: 'web-1' });
});

test('the first answer counts, whatever the state of the others before it', async () => {
  const dead = `http://127.0.0.1:${await freePort()}`;
  const three = controlPlanesAt(dead, `${dead}/prefix/`, one.httpUrl);
  const resource: DataplaneResource = {
    type: 'Dataplane',
    mesh: 'default',
    name: 'web-9',
    networking: NETWORKING,
  };
  await three.put(keyOf('web-9'), resource, unfenced);
  expect(one.store.list('Dataplane').map(({ name }) => name)).toEqual(['web-1', 'web-9']);
  three.close();
});

const NETWORKING = { address: '127.0.0.1', inbound: [{ port: 8_080, tags: { 'kuma.io/service': 'web' } }] };

function controlPlanesAt(first: string, ...others: readonly string[]): ControlPlanes {
  return kumaControlPlanes({
    clock: systemClock,
    urls: [new URL(first), ...others.map((url) => new URL(url))],
    tls: { ca: undefined, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: () => undefined,
  });
}

function keyOf(name: string): DataplaneKey {
  return { proxyType: 'dataplane', mesh: 'default', name };
}

function seed(name: string): void {
  one.store.save({
    type: 'Dataplane',
    mesh: 'default',
    name,
    creationTime: '2026-01-01T00:00:00Z',
    modificationTime: '2026-01-01T00:00:00Z',
    labels: {},
    spec: { networking: NETWORKING },
  });
}

function shown(name: string, modificationTime?: string): object {
  return { type: 'DataplaneOverview', mesh: 'default', name, modificationTime };
}

function answerList(controlPlane: ControlPlane, body: unknown, times = Number.MAX_SAFE_INTEGER): void {
  const action = { kind: 'answer', status: 200, body: JSON.stringify(body) } as const;
  controlPlane.faults.add({ path: '_overview', times, action });
}

function asked(): { readonly one: number; readonly two: number } {
  return { one: one.journal.requests.length, two: two.journal.requests.length };
}
