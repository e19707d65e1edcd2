import { describe, expect, test } from 'vitest';

import { ControlPlaneProcess } from '../../support/kuma/control-plane-process.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

const BODY = JSON.stringify({
  type: 'Dataplane',
  mesh: 'default',
  name: 'b1',
  networking: { address: '127.0.0.1', inbound: [{ port: 10001, tags: { 'kuma.io/service': 'backend' } }] },
});

describe('the control plane as a program', () => {
  test('has the same ports and objects after a kill and a start, and another instance id', async () => {
    using dir = new TemporaryDir();
    await using controlPlane = await ControlPlaneProcess.start({ storeFile: dir.join('store.json') });
    const { httpUrl, instanceId } = controlPlane;
    const url = `${httpUrl}/meshes/default/dataplanes/b1`;
    expect((await fetch(url, { method: 'PUT', body: BODY })).status).toBe(201);
    const before: unknown = await (await fetch(url)).json();
    await controlPlane.crash();
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    await controlPlane.start();
    expect(controlPlane.httpUrl).toBe(httpUrl);
    expect(controlPlane.instanceId).not.toBe(instanceId);
    expect(await (await fetch(url)).json()).toEqual(before);
  });

  test('takes faults, pauses and refuses connections by its control port, and shows its journal', async () => {
    await using controlPlane = await ControlPlaneProcess.start();
    const url = `${controlPlane.httpUrl}/who-am-i`;
    await controlPlane.addFault({ path: 'who-am-i', times: 1, action: { kind: 'answer', status: 503 } });
    expect((await fetch(url)).status).toBe(503);
    expect((await fetch(url)).status).toBe(200);

    await controlPlane.pause();
    const paused = fetch(url);
    await expect(
      Promise.race([paused, new Promise((late) => setTimeout(late, 100, 'silent'))]),
    ).resolves.toBe('silent');
    await controlPlane.resume();
    expect((await paused).status).toBe(200);

    await controlPlane.refuseConnections(['http']);
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    await controlPlane.acceptConnections(['http']);
    expect((await fetch(url)).status).toBe(200);
    const { requests } = await controlPlane.journal();
    expect(requests.filter(({ path }) => path === '/who-am-i')).toHaveLength(4);
  });
});
