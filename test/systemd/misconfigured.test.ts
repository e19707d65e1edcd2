import { describe, expect, inject, test } from 'vitest';

import type { Hosted } from '../support/systemd/hosted-dataplane.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf, STOPPED_CLEANLY } from '../support/systemd/unit-properties.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const layer = inject('layer');
const DROP_IN = '/etc/systemd/system/kuma-dp.service.d/limits.conf';
/** Longer than what the drop-ins here allow. */
const TOO_LONG_MS = 7_000;

interface Diagnosis {
  /** 0 for nothing to do, 1 for warnings, 2 for failures. */
  readonly code: number | null;
  /** Findings that are not `ok`, each with its remedy below. */
  readonly text: string;
}

async function diagnose({ systemd }: MeshHost): Promise<Diagnosis> {
  const { code, stdout } = await systemd.run(['kuma-dp-agent', 'doctor', '--unit', 'kuma-dp']);
  const text = stdout
    .split('\n')
    .filter((line) => !line.startsWith('ok '))
    .join('\n');
  return { code, text };
}

/** A running dataplane whose unit an operator has changed. */
async function changed(host: MeshHost, settings: string): Promise<Hosted> {
  const web = await host.serve('web-1', { unit: 'kuma-dp' });
  expect(await diagnose(host), 'healthy before').toEqual({ code: 0, text: '' });
  await host.systemd.write(DROP_IN, `[Service]\n${settings}\n`);
  await host.systemd.systemctl('daemon-reload');
  return web;
}

describe('a drop-in that breaks a stop', () => {
  test('KillMode=control-group: doctor names it; the object goes, and Envoy drops what it serves', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await changed(host, 'KillMode=control-group');
    const { code, text } = await diagnose(host);
    expect(code).toBe(2);
    expect(text).toContain(`FAIL KillMode: control-group (${DROP_IN})`);
    expect(text).toContain('     KillMode=mixed');

    const held = await host.hold(web);
    await host.systemd.systemctl('stop', web.unit);
    await expect(held.status).rejects.toThrow('fetch failed');
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
  });

  test('TimeoutStopSec=5s: doctor names it; the agent asks for the rest of its budget, and gets it', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await changed(host, 'TimeoutStopSec=5s');
    const { code, text } = await diagnose(host);
    expect(code).toBe(1);
    expect(text).toContain(`TimeoutStopSec: 5s (${DROP_IN})`);

    const held = await host.hold(web);
    const begunMs = performance.now();
    const stopping = host.systemd.systemctl('stop', web.unit);
    await waitUntil(() => performance.now() - begunMs > TOO_LONG_MS, { what: 'the limit to pass' });
    host.application('web-1').release();
    await stopping;
    expect(await held.status).toBe(200);
    expect(await stateOf(host.systemd, web.unit)).toBe(STOPPED_CLEANLY);
  });

  test('a missing environment file: systemd does not start the unit, and doctor says why', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.addDataplane('web-1', { unit: 'kuma-dp' });
    await host.systemd.write(DROP_IN, '[Service]\nEnvironmentFile=/etc/default/missing\n');
    await host.systemd.systemctl('daemon-reload');
    expect((await host.systemd.run(['systemctl', 'start', web.unit])).code).not.toBe(0);
    const { code, text } = await diagnose(host);
    // Without a running agent it is not known which dataplane this is, which is a failure of its own.
    expect(code).toBe(2);
    expect(text).toContain('WARN now: activating, resources: systemd could not start it');
    expect(text).toContain('EnvironmentFile=');
  });

  test('TimeoutStopSec=5s, and systemd does not listen: doctor names it; the agent deregisters, and its drain is cut', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await changed(host, 'TimeoutStopSec=5s\nNotifyAccess=none');
    const { code, text } = await diagnose(host);
    expect(code).toBe(2);
    expect(text).toContain(`FAIL TimeoutStopSec: 5s (${DROP_IN})`);

    const held = await host.hold(web);
    const stopping = host.systemd.systemctl('stop', web.unit);
    // The documented order: out first, then the peers drop it; only the wait for the last request is cut.
    await host.untilListed([]);
    expect(await stateOf(host.systemd, web.unit)).toMatch(/^deactivating stop-sigterm success /);
    await stopping;
    await expect(held.status).rejects.toThrow('fetch failed');
    expect(await stateOf(host.systemd, web.unit)).toBe('failed failed timeout 9 0');
    expect(host.deletedOverRest, 'ExecStopPost has nothing to finish').toHaveLength(1);
  });
});
