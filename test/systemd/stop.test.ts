import { connect } from 'node:net';
import { describe, expect, inject, test } from 'vitest';

import { MeshHost } from '../support/systemd/mesh-host.ts';

const layer = inject('layer');

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

describe.concurrent('a unit that is started', () => {
  test('counts as started when Envoy listens; as Type=simple, long before', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.addDataplane('web-1', { unit: 'kuma-dp' });
    await host.systemd.systemctl('start', web.unit);
    expect(await accepts(web.command.inboundPort)).toBe(true);
    await host.systemd.systemctl('stop', web.unit);

    await host.systemd.write('/etc/systemd/system/kuma-dp.service.d/type.conf', '[Service]\nType=simple\n');
    await host.systemd.systemctl('daemon-reload');
    await host.systemd.systemctl('start', web.unit);
    expect(await accepts(web.command.inboundPort)).toBe(false);
  });
});
