import { expect, inject, test } from 'vitest';

import { isRestartJob } from '../../agent/systemd/systemd-unit.pure.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import type { Hosted } from '../support/systemd/hosted-dataplane.ts';
import { BootedSystemd } from '../support/systemd/booted-systemd.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const UNIT = `[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c 'systemctl list-jobs --no-legend --plain > /run/jobs'
`;

test('systemd tells a stopping unit whether it restarts, in the words that the agent reads', async () => {
  await using systemd = await BootedSystemd.boot({ layer: inject('layer') });
  await systemd.write('/etc/systemd/system/proxy.service', UNIT);
  await systemd.systemctl('daemon-reload');
  await systemd.systemctl('start', 'proxy');
  const said: Record<string, boolean> = {};
  for (const verb of ['restart', 'try-restart', 'reload-or-restart', 'stop']) {
    await systemd.systemctl(verb, 'proxy');
    said[verb] = isRestartJob(await systemd.must(['cat', '/run/jobs']), 'proxy.service');
  }
  expect(said).toEqual({ restart: true, 'try-restart': true, 'reload-or-restart': true, stop: false });
});

const STOPPED = /Stopped in ([\d.]+)s/;

test('an agent that may not ask systemd itself knows that its unit restarts: what holds only a stop does not hold it', async () => {
  await using host = await MeshHost.boot({ layer: inject('layer') });
  // Without D-Bus, only root may ask. The endpoint is out of reach, so senders may not have been told.
  expect(await host.systemd.property('dbus.service', 'ActiveState')).toBe('inactive');
  const env = { KUMA_DP_AGENT_ENDPOINT: 'http://127.0.0.1:9' };
  const ours = await host.serve('web-1', { unit: 'kuma-dp@web-1', env, drainTime: '20s' });
  const without = await host.serve('web-2', { unit: 'kuma-dp@web-2', env, drainTime: '20s' });
  await host.systemd.write(`/etc/systemd/system/${without.unit}.d/ask.conf`, '[Service]\nExecStop=\n');
  await host.systemd.systemctl('daemon-reload');
  const stoppedInS = async ({ unit }: Hosted): Promise<number> => {
    await host.systemd.systemctl('restart', '--no-block', unit);
    return waitUntil(
      async () => {
        const lines = await host.systemd.journal(unit);
        const [, seconds] =
          lines.map(({ message }) => STOPPED.exec(message)).find((found) => found !== null) ?? [];
        return seconds === undefined ? undefined : Number(seconds);
      },
      { what: `${unit} to have stopped`, budgetMs: 60_000 },
    );
  };
  const [oursS, withoutS] = await Promise.all([stoppedInS(ours), stoppedInS(without)]);
  console.info(`restart: stopped in ${oursS} s, without ExecStop= in ${withoutS} s`);
  expect(withoutS - oursS).toBeGreaterThan(5);
});
