import { describe, expect, inject, test } from 'vitest';

import type { Hosted } from '../support/systemd/hosted-dataplane.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { OutOfMemory } from '../support/systemd/out-of-memory.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const layer = inject('layer');
const OWNED = { KUMA_DP_AGENT_LIFECYCLE: 'agent' };

type Victim = 'agent' | 'kuma-dp' | 'Envoy';

/** Pids, as the booted host counts them. The agent is the main process, kuma-dp its child, Envoy the child of that. */
async function pidOf(host: MeshHost, { unit }: Hosted, victim: Victim): Promise<string> {
  const agent = await host.systemd.property(unit, 'MainPID');
  if (victim === 'agent') return agent;
  // systemd-notify is the agent's child as well, for moments.
  const kumaDp = await waitUntil(
    async () => (await host.systemd.run(['pgrep', '--parent', agent, '--full', 'stand-in'])).stdout.trim(),
    { what: 'the pid of kuma-dp' },
  );
  return victim === 'kuma-dp' ? kumaDp : (await host.systemd.must(['pgrep', '--parent', kumaDp])).trim();
}

/** What ended the main process first, in systemd's own words. */
async function firstEnd(host: MeshHost, { unit }: Hosted): Promise<string | undefined> {
  const entries = await host.systemd.journal(unit);
  return entries.map(({ message }) => /Main process exited, (.*)$/.exec(message)?.[1]).find(Boolean);
}

describe('killed with -9', () => {
  test.for([
    { victim: 'agent', end: 'code=killed, status=9/KILL', by: 'ExecStopPost' },
    // The agent ends as kuma-dp did, after it has taken the object away.
    { victim: 'kuma-dp', end: 'code=killed, status=9/KILL', by: 'the agent' },
    { victim: 'Envoy', end: 'code=exited, status=1/FAILURE', by: 'the agent' },
  ] as const)(
    '$victim: the object goes at once by $by, everything else ends, and the unit is started again',
    async ({ victim, end }) => {
      await using host = await MeshHost.boot({ layer });
      const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
      const before = await host.systemd.must(['pgrep', '-u', 'kuma-dp']);
      await host.systemd.must(['kill', '-KILL', await pidOf(host, web, victim)]);

      await host.untilRestarted(web);
      expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
      expect(await firstEnd(host, web)).toBe(end);
      const after = (await host.systemd.must(['pgrep', '-u', 'kuma-dp'])).split('\n');
      expect(before.split('\n').filter((pid) => pid !== '' && after.includes(pid))).toEqual([]);
    },
  );

  test('everything: ExecStopPost deletes the object; it stays without ExecStopPost', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    await host.systemd.systemctl('kill', '--signal', 'KILL', web.unit);
    await host.untilRestarted(web);
    expect(host.deletedOverRest).toHaveLength(1);

    const dropIn = '[Service]\nExecStopPost=\nRestart=no\n';
    await host.systemd.write('/etc/systemd/system/kuma-dp.service.d/bare.conf', dropIn);
    await host.systemd.systemctl('daemon-reload');
    await host.systemd.systemctl('kill', '--signal', 'KILL', web.unit);
    await waitUntil(async () => (await host.systemd.property(web.unit, 'ActiveState')) === 'failed', {
      what: 'the unit to have ended',
    });
    expect(host.deletedOverRest).toHaveLength(1);
    expect(host.controlPlane.store.find({ type: 'Dataplane', mesh: 'default', name: 'web-1' })).toBeDefined();
  });
});

/** Makes each of the three do something, so that it needs memory. */
async function stir({ systemd }: MeshHost, { command }: Hosted): Promise<void> {
  await systemd.run(['kuma-dp-agent', 'status']);
  for (const port of [command.readinessPort, command.inboundPort]) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    await answer?.arrayBuffer().catch(() => {});
  }
}

describe('killed by the kernel, out of memory', () => {
  test.for(['agent', 'kuma-dp', 'Envoy'] as const)('%s: the same as with -9', async (victim) => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    const pid = await pidOf(host, web, victim);
    using memory = new OutOfMemory(host.systemd.hostPid(pid));
    await waitUntil(
      async () => {
        await stir(host, web);
        return memory.killed > 0;
      },
      { what: `the kernel to kill ${victim}`, budgetMs: 60_000 },
    );

    await host.untilRestarted(web);
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
  });
});

describe('the watchdog of a unit that has one', () => {
  test('hears the agent, and ends an agent that hangs: the object goes, and systemd starts the unit again', async () => {
    await using host = await MeshHost.boot({ layer });
    const limits = '[Service]\nWatchdogSec=4s\nTimeoutAbortSec=1s\n';
    await host.systemd.write('/etc/systemd/system/kuma-dp.service.d/watchdog.conf', limits);
    await host.systemd.systemctl('daemon-reload');
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    const signs = new Set<string>();
    await waitUntil(
      async () => signs.add(await host.systemd.property(web.unit, 'WatchdogTimestampMonotonic')).size > 2,
      { what: 'the third sign of life' },
    );
    expect(await host.systemd.property(web.unit, 'NRestarts'), 'it was not missed meanwhile').toBe('0');

    await host.systemd.must(['kill', '-STOP', await pidOf(host, web, 'agent')]);
    await host.untilRestarted(web);
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
  });
});
