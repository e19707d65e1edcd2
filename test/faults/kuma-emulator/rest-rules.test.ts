import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { type ControlPlaneOptions } from '../../support/kuma/settings.ts';

interface DataplaneBody {
  readonly creationTime: string;
  readonly modificationTime: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly networking: { readonly inbound: readonly Readonly<Record<string, unknown>>[] };
}

function body(name: string, fields: object = {}, inbound: object = {}): string {
  return JSON.stringify({
    type: 'Dataplane',
    mesh: 'default',
    name,
    networking: {
      address: '127.0.0.1',
      inbound: [{ port: 10001, tags: { 'kuma.io/service': 'backend' }, ...inbound }],
    },
    ...fields,
  });
}

let controlPlane: ControlPlane;

async function start(options: ControlPlaneOptions): Promise<void> {
  await controlPlane[Symbol.asyncDispose]();
  controlPlane = await ControlPlane.start(options);
}

async function put(name: string, text: string, mesh = 'default'): Promise<{ status: number; text: string }> {
  const url = `${controlPlane.httpUrl}/meshes/${mesh}/dataplanes/${name}`;
  const response = await fetch(url, { method: 'PUT', body: text });
  return { status: response.status, text: await response.text() };
}

async function get(name: string): Promise<DataplaneBody> {
  const response = await fetch(`${controlPlane.httpUrl}/meshes/default/dataplanes/${name}`);
  expect(response.status).toBe(200);
  return (await response.json()) as DataplaneBody;
}

beforeEach(async () => {
  controlPlane = await ControlPlane.start();
});

afterEach(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

describe('PUT of a dataplane', () => {
  test('creates with 201, updates with 200, keeps the creation time and moves the modification time', async () => {
    expect((await put('b1', body('b1'))).status).toBe(201);
    const created = await get('b1');
    expect((await put('b1', body('b1'))).status).toBe(200);
    const updated = await get('b1');
    expect(updated.creationTime).toBe(created.creationTime);
    expect(updated.modificationTime > created.modificationTime).toBe(true);
  });

  test('sets an inbound with a service probe to NotReady when it creates, not when it updates', async () => {
    const probed = body('b1', {}, { serviceProbe: {} });
    await put('b1', probed);
    expect((await get('b1')).networking.inbound[0]).toMatchObject({ state: 'NotReady', health: {} });
    await put('b1', probed);
    expect((await get('b1')).networking.inbound[0]).not.toHaveProperty('state');
  });

  test('keeps labels and adds its own', async () => {
    await put('b1', body('b1', { labels: { 'kuma-dp-agent/incarnation': '1' } }));
    expect((await get('b1')).labels).toMatchObject({
      'kuma-dp-agent/incarnation': '1',
      'kuma.io/zone': 'z1',
    });
  });

  test.for([
    ['another name', body('b2'), 'name'],
    ['another mesh', body('b1', { mesh: 'other' }), 'mesh'],
    ['another type', body('b1', { type: 'ZoneIngress' }), 'type'],
    ['no networking', body('b1', { networking: undefined }), 'networking'],
    [
      'a tag missing',
      body('b1', {}, { tags: { version: '1' } }),
      'networking.inbound[0].tags["kuma.io/service"]',
    ],
  ] as const)('is refused with 400 for %s', async ([, text, field]) => {
    const { status, text: answer } = await put('b1', text);
    expect(status).toBe(400);
    expect(JSON.parse(answer)).toMatchObject({ invalid_parameters: [{ field }] });
  });

  test('is refused with 404 in a mesh that does not exist', async () => {
    expect((await put('b1', body('b1', { mesh: 'nope' }), 'nope')).status).toBe(404);
  });
});

describe('Kuma 2.7', () => {
  test('drops labels and answers writes with nothing', async () => {
    await start({ version: '2.7.11' });
    expect(await put('b1', body('b1', { labels: { own: '1' } }))).toEqual({ status: 201, text: '' });
    expect(await get('b1')).not.toHaveProperty('labels');
    const url = `${controlPlane.httpUrl}/meshes/default/dataplanes/b1`;
    const deleted = await fetch(url, { method: 'DELETE' });
    expect([deleted.status, await deleted.text()]).toEqual([200, '']);
  });
});

describe('zone proxies', () => {
  const ingress = JSON.stringify({
    type: 'ZoneIngress',
    name: 'zi',
    networking: { address: '127.0.0.1', port: 1 },
  });

  test.for([
    ['2.10.1', 'zone-ingresses', 201],
    ['2.10.1', 'zoneingresses', 404],
    ['2.14.3', 'zone-ingresses', 201],
    ['2.14.3', 'zoneingresses', 201],
    ['3.0.0-preview', 'zoneingresses', 404],
  ] as const)('%s answers PUT /%s/zi with %i', async ([version, path, status]) => {
    await start({ version });
    const response = await fetch(`${controlPlane.httpUrl}/${path}/zi`, { method: 'PUT', body: ingress });
    expect(response.status).toBe(status);
  });
});

describe('lists', () => {
  test('pages by offset, with a link to the next page until the last', async () => {
    for (const name of ['a', 'b', 'c']) {
      await put(name, body(name));
    }
    const first = await fetch(`${controlPlane.httpUrl}/dataplanes/_overview?size=2`);
    const page = (await first.json()) as { total: number; items: { name: string }[]; next: string };
    expect([page.total, page.items.map(({ name }) => name)]).toEqual([3, ['a', 'b']]);
    const second = await fetch(page.next);
    expect(await second.json()).toMatchObject({ total: 3, items: [{ name: 'c' }], next: null });
  });
});
