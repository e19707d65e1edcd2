import { createPublicKey, verify } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { kumaControlPlanes } from '../../control-plane/control-planes/kuma-control-planes.io.ts';
import type { ControlPlanes } from '../../control-plane/ports.ts';
import { systemClock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { DataplaneKey, DataplaneResource } from '../../kuma/dataplane.ts';
import { isOnline } from '../../kuma/overview.ts';
import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../support/kuma-worlds/object-client.ts';
import { SoloDataplane } from '../support/kuma-worlds/solo-dataplane.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';
import { freePort } from '../support/world/free-port.ts';

/** Two clocks of one host, and a date that is cut to the second. */
const CLOCK_MARGIN_MS = 5_000;
const never = new AbortController().signal;
const unfenced = { beforeSend: () => {}, signal: never };

describe.for(kumasUnderTest)('$label: what the companion asks of a control plane', ({ create }) => {
  let world: KumaWorld;
  let objects: ObjectClient;
  let controlPlanes: ControlPlanes;
  let deadUrl: string;

  beforeAll(async () => {
    world = await create();
    objects = new ObjectClient(world.restUrl);
    deadUrl = `http://127.0.0.1:${await freePort()}`;
    controlPlanes = controlPlanesAt(deadUrl, world.restUrl);
  });

  afterAll(async () => {
    controlPlanes.close();
    await world[Symbol.asyncDispose]();
  });

  async function resource(name: string): Promise<DataplaneResource> {
    const { resource: made } = await world.dataplane({ name, service: name, servicePort: 1 });
    return made as DataplaneResource;
  }

  test('each reports its identity, or a reason', async () => {
    const [dead, living] = await controlPlanes.look(never);
    expect(dead).toEqual({ url: deadUrl, seen: { problem: expect.stringContaining('ECONNREFUSED') } });
    expect(living).toEqual({
      url: world.restUrl,
      seen: { facts: expect.objectContaining({ version: world.version, mode: 'zone' }) },
    });
  });

  test('the companion puts, reads, shows and deletes an object once, and puts it back as it was', async () => {
    const key = keyOf('undo');
    expect(await controlPlanes.overview(key, never)).toMatchObject({ overview: undefined });
    await controlPlanes.put(key, await resource('undo'), unfenced);
    const stored = await controlPlanes.read(key, never);
    const { overview, clockMs } = await controlPlanes.overview(key, never);
    expect(overview).toMatchObject({ name: 'undo', subscriptions: [] });
    expect(Math.abs((clockMs ?? 0) - Date.now())).toBeLessThan(CLOCK_MARGIN_MS);
    expect(await controlPlanes.delete(key, () => {}, never)).toBe('deleted');
    expect(await controlPlanes.delete(key, () => {}, never)).toBe('already gone');
    expect(await controlPlanes.read(key, never)).toBeUndefined();
    if (stored === undefined || overview === undefined) throw new Error('It was never there');
    // PUT accepts both forms: the object as it was read, and as it was shown.
    for (const body of [stored, overview.resource]) {
      await controlPlanes.put(key, body, unfenced);
      const again = await controlPlanes.read(key, never);
      expect(withoutTimes(again)).toEqual(withoutTimes(stored));
      await controlPlanes.delete(key, () => {}, never);
    }
  });

  test('a lost fence leaves the object in place', async () => {
    const key = keyOf('fenced');
    await controlPlanes.put(key, await resource('fenced'), unfenced);
    const lost = new OperationalError('FENCE_LOST', 'The hold may have ended');
    const refused = controlPlanes.delete(
      key,
      () => {
        throw lost;
      },
      never,
    );
    await expect(refused).rejects.toBe(lost);
    expect(await objects.exists('fenced')).toBe(true);
    await objects.delete('fenced');
  });

  test('the companion lists all dataplanes, with the control plane’s clock', async () => {
    for (const name of ['list-1', 'list-2'])
      await controlPlanes.put(keyOf(name), await resource(name), unfenced);
    const { overviews, clockMs } = await controlPlanes.overviews(never);
    const names = overviews.map(({ mesh, name }) => `${mesh}/${name}`);
    expect(names).toEqual(expect.arrayContaining(['default/list-1', 'default/list-2']));
    expect(Math.abs((clockMs ?? 0) - Date.now())).toBeLessThan(CLOCK_MARGIN_MS);
    for (const name of ['list-1', 'list-2']) await objects.delete(name);
  });

  test('an object in a missing mesh counts as gone, and cannot be put', async () => {
    const key = { ...keyOf('nowhere'), mesh: 'nowhere' };
    expect(await controlPlanes.delete(key, () => {}, never)).toBe('already gone');
    const put = controlPlanes.put(key, { ...(await resource('nowhere')), mesh: 'nowhere' }, unfenced);
    await expect(put).rejects.toMatchObject({ code: 'ENDPOINT_REJECTED' });
  });

  test('an administrator gets dataplane tokens, signed with a key that is among the secrets', async () => {
    const asked = { name: 'b1', mesh: 'default', type: 'dataplane', tags: {}, validFor: '1h' };
    const { status, body } = await objects.call('/tokens/dataplane', { method: 'POST', body: asked });
    expect(status).toBe(200);
    const [header = '', claims = '', signature = ''] = String(body).split('.');
    const { kid, ...head } = decode(header) as { readonly kid: string };
    expect(head).toEqual({ alg: 'RS256', typ: 'JWT' });
    expect(decode(claims)).toEqual({
      Name: 'b1',
      Mesh: 'default',
      Tags: {},
      Type: 'dataplane',
      ...(world.behaviour.workloadTokens ? { Workload: '' } : {}),
      exp: expect.any(Number),
      nbf: expect.any(Number),
      iat: expect.any(Number),
      jti: expect.any(String),
    });
    const name = `dataplane-token-signing-key-default-${kid}`;
    const secret = await objects.call(`/meshes/default/secrets/${name}`);
    expect(secret).toMatchObject({ status: 200, body: { type: 'Secret', mesh: 'default', name } });
    const pem = Buffer.from((secret.body as { readonly data: string }).data, 'base64').toString();
    expect(pem).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
    const signed = Buffer.from(`${header}.${claims}`);
    expect(verify('sha256', signed, createPublicKey(pem), Buffer.from(signature, 'base64url'))).toBe(true);
  });

  test('the control plane issues no token without a mesh, for nonsense, or for a mesh without a key', async () => {
    const statuses: number[] = [];
    for (const body of [
      { name: 'b1', validFor: '1h' },
      { name: 'b1', mesh: 'default', validFor: 'soon' },
      { name: 'b1', mesh: 'nowhere', validFor: '1h' },
    ]) {
      statuses.push((await objects.call('/tokens/dataplane', { method: 'POST', body })).status);
    }
    expect(statuses).toEqual([400, 400, 404]);
  });

  test('revocations are a secret of the mesh or a global one, and missing until an operator makes them', async () => {
    const name = 'dataplane-token-revocations-default';
    const places = [
      { path: `/meshes/default/secrets/${name}`, meta: { type: 'Secret', mesh: 'default', name } },
      { path: `/global-secrets/${name}`, meta: { type: 'GlobalSecret', name } },
    ];
    const data = Buffer.from('id-1,id-2\n').toString('base64');
    for (const { path, meta } of places) {
      expect(await objects.call(path)).toMatchObject({
        status: 404,
        body: { title: 'Could not retrieve a resource' },
      });
      expect((await objects.call(path, { method: 'PUT', body: { ...meta, data } })).status).toBe(201);
      expect(await objects.call(path)).toMatchObject({ status: 200, body: { ...meta, data } });
      expect((await objects.call(path, { method: 'DELETE' })).status).toBe(200);
    }
  });
});

describe.for(kumasUnderTest)('$label: a global control plane', ({ create }) => {
  test('reports it, and lets no caller write dataplanes', async () => {
    await using world = await create({ mode: 'global' });
    const controlPlanes = controlPlanesAt(world.restUrl);
    const [look] = await controlPlanes.look(never);
    expect(look).toMatchObject({ seen: { facts: { mode: 'global' } } });
    const { resource } = await world.dataplane({ name: 'global', service: 'global', servicePort: 1 });
    const refused = { code: 'ENDPOINT_REJECTED', details: { status: 405 } };
    const put = controlPlanes.put(keyOf('global'), resource as DataplaneResource, unfenced);
    await expect(put).rejects.toMatchObject(refused);
    const deleted = controlPlanes.delete(keyOf('global'), () => {}, never);
    await expect(deleted).rejects.toMatchObject(refused);
    controlPlanes.close();
  });
});

describe.for(kumasUnderTest)('$label: ghosts of a control plane that was killed', ({ create }) => {
  test('end after one to two idle timeouts, and living dataplanes stay online', async ({ skip }) => {
    const idleTimeoutMs = 4_000;
    await using world = await create({ idleTimeoutMs });
    if (!world.durable) skip('objects need a database to outlive their control plane, and there is none');
    const objects = new ObjectClient(world.restUrl);
    await using ghost = await SoloDataplane.serving(world, { name: 'ghost' });
    await using living = await SoloDataplane.serving(world, { name: 'living' });
    await Promise.all([objects.untilOnline('ghost'), objects.untilOnline('living')]);
    await world.kill();
    await ghost.crash();
    await world.start();
    expect(await objects.online('ghost')).toBe(true);
    const startedAtMs = performance.now();
    await objects.untilOffline('ghost', 60_000);
    expect(performance.now() - startedAtMs).toBeGreaterThan(idleTimeoutMs - 1_000);
    // Its own stream is new with this control plane; two more looks find it alive.
    await objects.untilOnline('living');
    await delay(2.5 * idleTimeoutMs);
    const subscriptions = (await objects.overview('living'))?.subscriptions ?? [];
    expect(subscriptions.filter(isOnline)).toHaveLength(1);
    expect(await objects.exists('ghost')).toBe(true);
    await living.crash();
  });
});

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

function withoutTimes(resource: DataplaneResource | undefined): unknown {
  const { creationTime: _created, modificationTime: _modified, ...rest } = resource ?? { type: '', name: '' };
  return rest;
}

function decode(part: string): unknown {
  return JSON.parse(Buffer.from(part, 'base64url').toString());
}
