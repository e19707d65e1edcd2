import { createServer, type Server } from 'node:http';
import { once } from 'node:events';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import type { FaultAction } from '../../support/kuma/faults.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { freePort } from '../../support/world/free-port.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const HTML = { 'content-type': 'text/html' };
const PAGE = '<html><body>nginx</body></html>';

/** What may stand between the companion and its outcome, and how it passes. */
const FAULTS: readonly (readonly [string, FaultAction])[] = [
  ['404 of another program', answer(404, PAGE, HTML)],
  ['404 without a body', answer(404, '')],
  ['401', answer(401, error(401, 'Invalid authentication data'))],
  ['403', answer(403, error(403, 'Access Denied'))],
  ['405', answer(405, error(405, 'Method not allowed'))],
  ['409', answer(409, error(409, 'Conflict'))],
  ['429 with Retry-After', answer(429, '', { 'retry-after': '1' })],
  ['500', answer(500, error(500, 'Internal Server Error'))],
  ['503', answer(503, '')],
  ['a page of HTML', answer(200, PAGE, HTML)],
  ['a redirect', answer(302, '', { location: 'http://127.0.0.1:1/' })],
  ['half an answer', { kind: 'half-body' }],
  ['a reset', { kind: 'reset' }],
  ['a reset after it was done', { kind: 'reset-after' }],
  ['silence', { kind: 'hang' }],
];

describe('a control plane that answers', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start({ companion: { heal: 'off' } });
    await world.running('bystander');
  });

  afterAll(async () => {
    expect(world.companion.seen('deregistrar.failed')).toEqual([]);
    expect(world.find('bystander')).toBeDefined();
    expect(world.requests('bystander')).toBe(0);
    await world[Symbol.asyncDispose]();
  });

  test.concurrent.for(FAULTS)('a DELETE with %s: the departure waits, then ends', async ([what, action]) => {
    const name = `delete-${FAULTS.findIndex(([each]) => each === what)}`;
    const agent = await world.running(name);
    world.fault({ method: 'DELETE', path: `/dataplanes/${name}$`, times: 2, action });
    await agent.leave(1_200);
    await world.waitUntilGone(name);
    const { outcome } = await world.waitForDeparture(name, { cause: 'requested' });
    expect(['deleted', 'already gone']).toContain(outcome);
    expect(world.deletions(name)).toBe(1);
  });

  test.concurrent.for(FAULTS)('a look with %s: the departure waits, then ends', async ([what, action]) => {
    const name = `look-${FAULTS.findIndex(([each]) => each === what)}`;
    const agent = await world.running(name);
    world.fault({ method: 'GET', path: `/dataplanes/${name}/_overview`, times: 2, action });
    await agent.leave(1_200);
    await world.waitUntilGone(name);
    await world.waitForDeparture(name, { cause: 'requested', outcome: 'deleted' });
    expect(world.requests(name)).toBe(1);
  });

  test.concurrent('with errors for long: the caller learns why, the row stays, and the departure ends with the errors', async () => {
    const agent = await world.running('stormy');
    const endStorm = world.fault({ path: '/dataplanes/stormy', action: answer(503, '') });
    const { outcome, reason, durable } = await agent.leave(2_000);
    expect({ outcome, durable }).toEqual({ outcome: Outcome.ACCEPTED, durable: true });
    expect(reason).toMatch(/default\/stormy.*503/);
    const row = await world.waitForRow('stormy', { state: 'leaving' });
    expect(row.attempts).toBeGreaterThan(0);
    expect(row.reason).toMatch(/503/);
    endStorm();
    await world.waitUntilGone('stormy');
    expect(world.requests('stormy')).toBe(1);
  });

  test.concurrent('429 with Retry-After: the companion does not ask again before', async () => {
    const agent = await world.running('patient');
    const path = '/dataplanes/patient$';
    world.fault({ method: 'DELETE', path, times: 1, action: answer(429, '', { 'retry-after': '2' }) });
    await agent.leave(500);
    await world.waitUntilGone('patient');
    const [first, second] = world.controlPlane.journal.matching('DELETE', new RegExp(path));
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(1_900);
  });
});

test.concurrent('as a global one: nothing is deleted, and every caller learns why', async () => {
  await using world = await CompanionWorld.start({ controlPlane: { mode: 'global' } });
  const agent = await world.running('web-1');
  expect(await agent.leave(700)).toEqual({
    outcome: Outcome.ACCEPTED,
    guard: 'not-zone-cp',
    reason: 'this is a global control plane',
    durable: true,
  });
  const lost = await world.running('web-2');
  lost.vanish();
  world.disconnect('web-2');
  await world.waitForRow('web-2', { guard: 'not-zone-cp' });
  expect(world.companion.seen('control-plane.wrong')).toHaveLength(1);
  expect((await world.command('status')).stdout).toMatch(/^control plane: .*NOT A ZONE CONTROL PLANE$/m);
  expect(world.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
});

test.concurrent('as another version at the same address: the companion finishes departures in progress', async () => {
  await using world = await CompanionWorld.start();
  await world.running('bystander');
  const leaving = await world.running('leaving');
  const lost = await world.running('lost');
  const { store, ports, settings } = world.controlPlane;
  await world.controlPlane.stop();
  expect(await leaving.leave(500)).toMatchObject({ outcome: Outcome.ACCEPTED });
  lost.vanish();
  world.disconnect('lost');
  await using next = await ControlPlane.start({ ...settings, version: '2.10.1', ports }, store);
  await world.waitUntilGone('leaving');
  await world.waitUntilGone('lost');
  await waitUntil(async () => (await world.status()).controlPlanes[0]?.controlPlane?.version === '2.10.1', {
    what: 'the new version in the status',
  });
  expect(next.journal.events.filter(({ kind }) => kind === 'deleted').map(({ subject }) => subject)).toEqual([
    'default/leaving',
    'default/lost',
  ]);
  expect(world.find('bystander')).toBeDefined();
});

test.concurrent('as another program: the companion believes no answer and keeps every object', async () => {
  const port = await freePort();
  await using impostor = await httpServer(port);
  await using world = await CompanionWorld.create({ companion: { kumaApi: [`http://127.0.0.1:${port}`] } });
  await world.companion.start();
  await world.companion.waitForEvent('deregistrar.started');
  const agent = world.agent('web-1');
  expect(await agent.attach()).toMatchObject({ fenced: true });
  expect(await agent.leave(700)).toMatchObject({
    outcome: Outcome.ACCEPTED,
    durable: true,
  });
  expect(await world.row('web-1')).toMatchObject({ state: 'leaving' });
  expect(impostor.deletions).toBe(0);
  expect((await fetch(`${world.companion.httpUrl}/readyz`)).status).toBe(503);
  expect((await fetch(`${world.companion.httpUrl}/livez`)).status).toBe(200);
});

/** As Kuma's API server words it. */
function error(status: number, title: string): string {
  return JSON.stringify({ status, title, detail: 'as it happens' });
}

function answer(status: number, body: string, headers: Readonly<Record<string, string>> = {}): FaultAction {
  return { kind: 'answer', status, headers: { 'content-type': 'application/json', ...headers }, body };
}

/** Answers everything with a friendly page. */
async function httpServer(port: number): Promise<AsyncDisposable & { readonly deletions: number }> {
  let deletions = 0;
  const server: Server = createServer((request, response) => {
    if (request.method === 'DELETE') deletions += 1;
    response.writeHead(200, HTML).end(PAGE);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    get deletions() {
      return deletions;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
