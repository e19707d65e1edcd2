import { describe, expect, inject, test } from 'vitest';

import type { Hosted } from '../support/systemd/hosted-dataplane.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf, STOPPED_CLEANLY } from '../support/systemd/unit-properties.ts';
import { freePort } from '../support/world/free-port.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const layer = inject('layer');
const COMPANION = 'kuma-deregistrar.service';
const TLS = '/opt/project/test/fixtures/tls';

/** A host with two dataplanes, whose units know nothing but the companion, and the companion's own. */
async function attached(): Promise<{ readonly host: MeshHost; readonly dataplanes: readonly Hosted[] }> {
  await using booting = new AsyncDisposableStack();
  const host = booting.use(await MeshHost.boot({ layer, controlPlane: { localhostIsAdmin: true } }));
  const [agents, http] = [await freePort(), await freePort()];
  const settings = {
    KUMA_DEREGISTRAR_KUMA_API: host.controlPlane.httpUrl,
    KUMA_DEREGISTRAR_TLS_CERT_FILE: `${TLS}/server.crt`,
    KUMA_DEREGISTRAR_TLS_KEY_FILE: `${TLS}/server.key`,
    KUMA_DEREGISTRAR_LISTEN: `127.0.0.1:${agents}`,
    KUMA_DEREGISTRAR_HTTP: `127.0.0.1:${http}`,
    KUMA_DEREGISTRAR_GRACE: '2s',
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  await host.systemd.write('/etc/default/kuma-deregistrar', lines.join(''));
  await host.systemd.systemctl('start', COMPANION);
  const dataplanes: Hosted[] = [];
  for (const name of ['web-1', 'web-2']) {
    const env = { KUMA_DP_AGENT_ENDPOINT: `grpcs://localhost:${agents}` };
    dataplanes.push(await host.serve(name, { unit: `kuma-dp@${name}`, env }));
  }
  booting.move();
  return { host, dataplanes };
}

/** Reads the status that `systemctl status` shows. */
function untilTwoAttached({ systemd }: MeshHost): Promise<unknown> {
  return waitUntil(async () => /2 agents/.test(await systemd.property(COMPANION, 'StatusText')), {
    what: 'both agents to be attached',
  });
}

describe('kuma-deregistrar.service', () => {
  test('deletes the object of a dataplane that lost power: nothing on its host could act any more', async () => {
    const world = await attached();
    await using host = world.host;
    const [staying, lost] = world.dataplanes;
    await untilTwoAttached(host);
    await host.systemd.write(
      '/etc/systemd/system/kuma-dp@.service.d/power-loss.conf',
      '[Service]\nExecStopPost=\nRestart=no\n',
    );
    await host.systemd.systemctl('daemon-reload');
    await host.systemd.systemctl('kill', '--signal', 'KILL', String(lost?.unit));
    await host.untilListed(world.dataplanes.filter((one) => one === staying));
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-2']);
  });

  test('counts as started when agents can attach, shows how many are attached, and stops in order', async () => {
    const world = await attached();
    await using host = world.host;
    await untilTwoAttached(host);
    await host.systemd.systemctl('restart', COMPANION);
    await untilTwoAttached(host);
    await host.systemd.systemctl('stop', 'kuma-dp@web-1');
    await host.systemd.systemctl('stop', COMPANION);
    expect(await stateOf(host.systemd, COMPANION)).toBe(STOPPED_CLEANLY);
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
  });
});
