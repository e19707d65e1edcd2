import { expect, inject, test } from 'vitest';

import { isRestartJob } from '../../agent/systemd/systemd-unit.pure.ts';
import { BootedSystemd } from '../support/systemd/booted-systemd.ts';

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
