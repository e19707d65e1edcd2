import { describe, expect, inject, test } from 'vitest';

import type { JournalEntry } from '../support/systemd/booted-systemd.ts';
import type { Hosted } from '../support/systemd/hosted-dataplane.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf, STOPPED_CLEANLY } from '../support/systemd/unit-properties.ts';
import { acceptsConnections } from '../support/world/accepts-connections.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const layer = inject('layer');
/** Without the wait for the name at a start. */
const OWNED = { KUMA_DP_AGENT_LIFECYCLE: 'agent' };
const DROP_INS = '/etc/systemd/system/kuma-dp.service.d';

/** The log line of kuma-dp's stand-in when it gets a stop signal; real kuma-dp uses the same words. */
const TOLD = /received signal, stopping instance gracefully/;

async function toldKumaDp(host: MeshHost, { unit }: Hosted): Promise<readonly JournalEntry[]> {
  return (await host.systemd.journal(unit)).filter(({ message }) => TOLD.test(message));
}

/** The status that `systemctl status` shows while a request is in progress. */
const HELD = /stopping: .*waiting for \d+ inbound request/;

describe('a start', () => {
  test('counts as done when Envoy listens; as Type=simple, long before', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    await host.systemd.systemctl('stop', web.unit);
    await host.systemd.systemctl('start', web.unit);
    expect(await acceptsConnections(web.command.inboundPort)).toBe(true);
    await host.systemd.systemctl('stop', web.unit);

    await host.systemd.write(`${DROP_INS}/type.conf`, '[Service]\nType=simple\n');
    await host.systemd.systemctl('daemon-reload');
    await host.systemd.systemctl('start', web.unit);
    expect(await acceptsConnections(web.command.inboundPort)).toBe(false);
  });
});

describe('a stop', () => {
  test('takes the dataplane out, waits for the last request and logs it, and leaves nothing behind', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp' });
    await host.untilStatus(web, /^default\/web-1: serving$/);
    const held = await host.hold(web);

    const stopping = host.systemd.systemctl('stop', web.unit);
    await host.untilStatus(web, /serving until peers have dropped the endpoint/);
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
    expect(await toldKumaDp(host, web), 'not before the peers have let go').toEqual([]);
    await host.untilListed([]);
    await host.untilStatus(web, HELD);
    expect(await toldKumaDp(host, web)).toHaveLength(1);
    host.application('web-1').release();
    await stopping;

    expect(await held.status).toBe(200);
    expect(await stateOf(host.systemd, web.unit)).toBe(STOPPED_CLEANLY);
    expect(host.deletedOverRest, 'ExecStopPost has nothing to finish').toHaveLength(1);
    expect((await host.systemd.run(['pgrep', '-u', 'kuma-dp'])).stdout).toBe('');
  });

  test('of an idle dataplane takes 6 s at most, and its journal is ten lines for a person', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp' });
    const before = (await host.systemd.journal(web.unit)).length;
    const begunMs = performance.now();
    await host.systemd.systemctl('stop', web.unit);
    const tookMs = performance.now() - begunMs;

    const entries = (await host.systemd.journal(web.unit)).slice(before);
    // Envoy and kuma-dp log as always; this test looks at systemd and the agent.
    const lines = entries
      .filter(({ message }) => !/\tINFO\t|^\[\d{4}-/.test(message))
      .map(({ message }) => message);
    console.info(`idle stop: ${(tookMs / 1_000).toFixed(2)} s\n${lines.join('\n')}`);
    expect(tookMs).toBeLessThan(6_000);
    expect(lines.length).toBeLessThanOrEqual(10);
    for (const line of lines) expect(line).not.toContain('{');
  });

  test('continues while systemd reloads its files', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp' });
    const held = await host.hold(web);
    const stopping = host.systemd.systemctl('stop', web.unit);
    await host.untilStatus(web, /serving until/);
    await host.systemd.systemctl('daemon-reload');
    await host.untilStatus(web, HELD);
    await host.systemd.systemctl('daemon-reload');
    host.application('web-1').release();
    await stopping;

    expect(await held.status).toBe(200);
    expect(await stateOf(host.systemd, web.unit)).toBe(STOPPED_CLEANLY);
    expect(await toldKumaDp(host, web)).toHaveLength(1);
  });

  test.for([
    'restart systemd-journald',
    'kill --signal KILL systemd-journald',
    'kill --signal STOP systemd-journald',
  ])('continues over "systemctl %s"', async (loss) => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp' });
    const held = await host.hold(web);
    const stopping = host.systemd.systemctl('stop', web.unit);
    await host.untilStatus(web, /serving until/);
    await host.systemd.systemctl(...loss.split(' '));
    await host.untilStatus(web, HELD);
    host.application('web-1').release();
    await stopping;

    expect(await held.status).toBe(200);
    expect(await stateOf(host.systemd, web.unit)).toBe(STOPPED_CLEANLY);
    await host.systemd.systemctl('kill', '--signal', 'CONT', 'systemd-journald');
    const said = (await host.systemd.journal(web.unit)).map(({ message }) => message);
    expect(
      said.some((line) => line.includes('Stopped in')),
      'the last word is in the journal',
    ).toBe(true);
  });
});

describe('a restart', () => {
  test('stops and starts: the object goes and comes back, without the wait if the agent owns it', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    await host.systemd.systemctl('restart', web.unit);
    await host.untilListed([web]);
    expect(await acceptsConnections(web.command.inboundPort)).toBe(true);
    expect(host.deletedOverRest).toHaveLength(1);
    expect(await stateOf(host.systemd, web.unit)).toBe('active running success 0 0');
  });
});

describe('systemctl kill', () => {
  test('of the main process is a stop in order, after which systemd starts the unit again', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    const held = await host.hold(web);
    await host.systemd.systemctl('kill', '--kill-whom=main', web.unit);
    await host.untilListed([]);
    await host.untilStatus(web, HELD);
    host.application('web-1').release();
    expect(await held.status).toBe(200);
    await host.untilListed([web]);
    expect(await stateOf(host.systemd, web.unit)).toBe('active running success 0 1');
  });

  test('of all processes stops Envoy at once: the object still goes, and requests fail', async () => {
    await using host = await MeshHost.boot({ layer });
    const web = await host.serve('web-1', { unit: 'kuma-dp', env: OWNED });
    const held = await host.hold(web);
    await host.systemd.systemctl('kill', web.unit);
    await expect(held.status).rejects.toThrow('fetch failed');
    await waitUntil(async () => (await stateOf(host.systemd, web.unit)) === 'active running success 0 1', {
      what: 'systemd to have started it again',
    });
    expect(host.deletedOverRest).toHaveLength(1);
    await host.untilListed([web]);
  });
});
