import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { readFacts } from '../../kuma/control-plane.ts';
import { resourcePath } from '../../kuma/dataplane.ts';
import { readOverview } from '../../kuma/overview.ts';
import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../support/kuma-worlds/object-client.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';

type Json = Readonly<Record<string, unknown>>;

describe.for(kumasUnderTest)('$label: the REST API to a caller that is no administrator', ({ create }) => {
  let world: KumaWorld;
  let objects: ObjectClient;

  beforeAll(async () => {
    world = await create({ localhostIsAdmin: false });
    objects = new ObjectClient(world.restUrl);
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  /** The answer to a successful write. */
  function done(): object | undefined {
    return world.behaviour.answersWrites ? {} : undefined;
  }

  async function resource(name: string): Promise<Json> {
    return (await world.dataplane({ name, service: name, servicePort: 1 })).resource;
  }

  test('index and configuration have the facts that a departure depends on', async () => {
    const index = await objects.call('/');
    expect(index).toMatchObject({ status: 200, body: { product: 'Kuma', version: world.version } });
    const config = await objects.call('/config');
    expect(config.status).toBe(200);
    const { timing } = world;
    const { instanceId, clusterId } = index.body as { instanceId: string; clusterId?: string };
    const { multizone, store } = config.body as {
      multizone?: { zone?: { name?: string } };
      store?: { type?: string };
    };
    expect(readFacts(index.body, config.body)).toEqual({
      version: world.version,
      instanceId,
      // A control plane that is no part of a federation may have no name for its zone.
      zoneName: multizone?.zone?.name === '' ? undefined : multizone?.zone?.name,
      // Empty until the leader has written it down.
      clusterId: store?.type === 'memory' || clusterId === '' ? undefined : clusterId,
      mode: 'zone',
      propagationMs: timing.storeCacheMs + timing.refreshMs,
      deregistrationDelayMs: timing.deregistrationDelayMs,
      hdsDelayMs: timing.healthReportIntervalMs + timing.healthCheckIntervalMs,
    });
  });

  test('the same API is available over TLS, and the CA of kuma-dp verifies its certificate', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      get(`${world.secureRestUrl}/`, { ca: readFileSync(world.caFile), agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).once('error', reject);
    });
    expect(status).toBe(200);
  });

  test('PUT creates with 201 and updates with 200, DELETE answers 200 once and 404 from then on', async () => {
    const body = await resource('crud');
    expect(await objects.get('crud')).toMatchObject({ status: 404 });
    expect(await objects.put(body)).toEqual({ status: 201, body: done() });
    const created = (await objects.get('crud')).body as Json;
    expect(created).toMatchObject({ type: 'Dataplane', mesh: 'default', name: 'crud' });
    expect(await objects.put(body)).toEqual({ status: 200, body: done() });
    const updated = (await objects.get('crud')).body as Json;
    expect(updated['creationTime']).toBe(created['creationTime']);
    expect(Date.parse(String(updated['modificationTime']))).toBeGreaterThanOrEqual(
      Date.parse(String(created['modificationTime'])),
    );
    expect(await objects.delete('crud')).toEqual({ status: 200, body: done() });
    expect(await objects.delete('crud')).toEqual(standardError(404, 'Could not delete a resource'));
    expect(await objects.get('crud')).toEqual(standardError(404, 'Could not retrieve a resource'));
    expect(await objects.call('/meshes/default/dataplanes/crud/_overview')).toMatchObject({ status: 404 });
  });

  test('PUT accepts an object as GET shows it', async () => {
    expect((await objects.put(await resource('undo'))).status).toBe(201);
    const { body } = await objects.get('undo');
    await objects.delete('undo');
    expect((await objects.put(body as Json)).status).toBe(201);
    const again = (await objects.get('undo')).body as Json;
    expect(again['networking']).toEqual((body as Json)['networking']);
    await objects.delete('undo');
  });

  test('a missing mesh is a 404 of its own', async () => {
    const path = '/meshes/nowhere/dataplanes/b1';
    const title = 'Failed to retrieve Mesh';
    expect(await objects.call(path)).toEqual(standardError(404, title));
    expect(await objects.call(path, { method: 'DELETE' })).toEqual(standardError(404, title));
    const body = { ...(await resource('b1')), mesh: 'nowhere' };
    expect((await objects.call(path, { method: 'PUT', body })).status).toBe(404);
  });

  test.for<[string, Json, string]>([
    ['no address', { networking: { inbound: [{ port: 1_024 }] } }, 'networking.address'],
    ['another name than the path', { name: 'other' }, 'name'],
    ['another type', { type: 'ZoneEgress' }, 'type'],
  ])('PUT with %s is a 400 that names the field', async ([, change, field]) => {
    const body = { ...(await resource('bad')), ...change };
    const answer = await objects.call('/meshes/default/dataplanes/bad', { method: 'PUT', body });
    expect(answer.status).toBe(400);
    const { invalid_parameters: problems } = answer.body as {
      readonly invalid_parameters?: readonly { readonly field: string }[];
    };
    expect(problems?.map((problem) => problem.field)).toContain(field);
    expect(await objects.exists('bad')).toBe(false);
  });

  test('PUT of something that is not JSON is a 400', async () => {
    const path = '/meshes/default/dataplanes/bad';
    expect((await objects.call(path, { method: 'PUT', body: '{"type":' })).status).toBe(400);
  });

  test('labels are kept where the version keeps them, and so is NotReady', async () => {
    const body = await resource('labelled');
    const { networking } = body as { readonly networking: { readonly inbound: readonly Json[] } };
    const inbound = networking.inbound.map((one) => ({ ...one, state: 'NotReady' }));
    await objects.put({
      ...body,
      labels: { ...(body['labels'] as Json), 'kuma-dp-agent/incarnation': 'i-1' },
      networking: { ...networking, inbound },
    });
    const stored = (await objects.get('labelled')).body as Json;
    expect(stored).toMatchObject({ networking: { inbound: [{ state: 'NotReady' }] } });
    const labels = (stored['labels'] ?? {}) as Json;
    expect(labels['kuma-dp-agent/incarnation']).toBe(world.behaviour.keepsLabels ? 'i-1' : undefined);
    const overview = await objects.overview('labelled');
    expect(overview?.labels['kuma-dp-agent/incarnation']).toBe(
      world.behaviour.keepsLabels ? 'i-1' : undefined,
    );
    await objects.delete('labelled');
  });

  test('the overview of a dataplane that never connected has no subscription', async () => {
    await objects.put(await resource('unseen'));
    const { body } = await objects.call('/meshes/default/dataplanes/unseen/_overview');
    expect(body).toMatchObject({ type: 'DataplaneOverview', mesh: 'default', name: 'unseen' });
    expect(readOverview(body)).toMatchObject({
      name: 'unseen',
      subscriptions: [],
      networking: { address: '127.0.0.1' },
    });
    await objects.delete('unseen');
  });

  test('anonymous may read and write dataplanes, but neither secrets nor tokens', async () => {
    expect(await objects.call('/who-am-i')).toMatchObject({
      status: 200,
      body: { name: 'mesh-system:anonymous' },
    });
    const secret = await objects.call('/meshes/default/secrets/dataplane-token-signing-key-default-1');
    expect(secret).toMatchObject({ status: 403, body: { title: 'Access Denied' } });
    const token = { name: 'b1', mesh: 'default', type: 'dataplane', validFor: '1h' };
    expect(await objects.call('/tokens/dataplane', { method: 'POST', body: token })).toMatchObject({
      status: 403,
    });
  });

  test('an invalid token is a 401 for every request, and nothing happens', async () => {
    const body = await resource('guarded');
    await objects.put(body);
    const authorization = 'Bearer not-a-token';
    const path = '/meshes/default/dataplanes/guarded';
    const refused = standardError(401, 'Invalid authentication data', 'Unauthenticated');
    expect(await objects.call(path, { authorization })).toEqual(refused);
    expect(await objects.call(path, { authorization, method: 'DELETE' })).toEqual(refused);
    expect(await objects.call(path, { authorization, method: 'PUT', body })).toEqual(refused);
    expect((await objects.call('/config', { authorization })).status).toBe(401);
    expect(await objects.exists('guarded')).toBe(true);
    await objects.delete('guarded');
  });

  test('lists come in pages whose links lead to the next one', async () => {
    const names = ['page-1', 'page-2', 'page-3'];
    for (const name of names) await objects.put(await resource(name));
    const seen: string[] = [];
    let path: string | undefined = '/meshes/default/dataplanes?size=2&name=page-';
    while (path !== undefined) {
      const { body } = await objects.call(path);
      const page = body as { total: number; items: readonly { name: string }[]; next: string | null };
      expect(page.total).toBe(3);
      seen.push(...page.items.map(({ name }) => name));
      path = page.next === null ? undefined : page.next.slice(world.restUrl.length);
    }
    expect(seen.toSorted()).toEqual(names);
    const overviews = await objects.call('/meshes/default/dataplanes/_overview?name=page-');
    expect(overviews).toMatchObject({ status: 200, body: { total: 3, next: null } });
    expect((await objects.call('/dataplanes/_overview?name=page-')).body).toMatchObject({ total: 3 });
    for (const name of names) await objects.delete(name);
  });

  test('a page has 1 to 1000 entries', async () => {
    const list = '/meshes/default/dataplanes?size=';
    expect((await objects.call(`${list}1000`)).status).toBe(200);
    expect((await objects.call(`${list}1001`)).status).toBe(400);
    expect((await objects.call(`${list}many`)).status).toBe(400);
    const { status } = await objects.call(`${list}0`);
    expect(status === 400).toBe(world.behaviour.refusesEmptyPages);
  });

  test('zone proxies have paths of their own up to Kuma 2, and none in Kuma 3', async () => {
    for (const proxyType of ['ingress', 'egress'] as const) {
      const path = `/${resourcePath({ proxyType, mesh: '', name: 'z1' })}`;
      const list = await objects.call(path.replace('/z1', ''));
      expect(list.status).toBe(world.behaviour.zoneProxies ? 200 : 404);
      const gone = await objects.call(path, { method: 'DELETE' });
      const refused = standardError(404, 'Could not delete a resource');
      expect(gone.status).toBe(404);
      expect(isDeepStrictEqual(gone, refused)).toBe(world.behaviour.zoneProxies);
      expect((await objects.call(`${path}/_overview`)).status).toBe(404);
    }
  });
});

function standardError(status: number, title: string, detail = 'Not found'): unknown {
  return { status, body: { type: '/std-errors', status, title, detail, details: detail } };
}
