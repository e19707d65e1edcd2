import { describe, expect, test } from 'vitest';

import { Fleet, type Instance } from '../support/world/fleet.ts';
import { childrenOf } from '../support/world/power-loss.ts';
import { waitUntil } from '../support/world/wait-until.ts';
import { HTTP1, NAMES, type LoadTraffic, underLoad } from '../support/world/under-load.ts';

const STOPPED = 'backend-2';

const TRAFFIC: readonly LoadTraffic[] = [
  HTTP1,
  { name: 'HTTP/2', inbound: 'http2', load: 'http2' },
  { name: 'TCP', inbound: 'tcp', load: 'tcp' },
];

/** Stops kuma-dp and its Envoy at the same moment, as `systemctl stop` does with KillMode=control-group. */
function stopAsKumasUnitDoes({ process: { pid } }: Instance): void {
  const members = childrenOf(pid);
  expect(members, 'there is an Envoy to stop').toHaveLength(1);
  for (const member of [pid, ...members]) process.kill(member, 'SIGTERM');
}

describe('one of three instances stops under load, without retries', () => {
  test.for(TRAFFIC)('no request fails with the agent: $name', async (traffic) => {
    await using fleet = await Fleet.create({ names: NAMES, protocol: traffic.inbound });
    await fleet.start(fleet.agent());
    const stopped = fleet.instance(STOPPED);

    const summary = await underLoad(fleet, traffic, async () => {
      stopped.process.signal('SIGTERM');
      expect(await stopped.process.exited).toMatchObject({ code: 0, signal: null });
    });

    expect(summary.byFailure).toEqual({});
    expect(await fleet.client.endpoints()).toHaveLength(2);
    expect(fleet.controlPlane.journal.matching('DELETE', /backend-2$/)).toHaveLength(1);
  });

  test('requests fail as Kuma’s documented unit stops it: the tests above can fail', async () => {
    await using fleet = await Fleet.create({ names: NAMES });
    await fleet.start('bare');
    const stopped = fleet.instance(STOPPED);

    const summary = await underLoad(fleet, HTTP1, async () => {
      stopAsKumasUnitDoes(stopped);
      await stopped.process.exited;
    });

    expect(summary.failed).toBeGreaterThan(0);
  });

  test('Envoy answers a request that takes longer than the settle time before it ends', async () => {
    await using fleet = await Fleet.create({ names: NAMES });
    await fleet.start(fleet.agent());
    const stopped = fleet.instance(STOPPED);

    const slow = fetch(`http://${stopped.command.endpoint}/?delay=6000`);
    await waitUntil(() => fleet.application(STOPPED).active > 0, { what: 'the slow request to arrive' });
    stopped.process.signal('SIGTERM');

    expect((await slow).status).toBe(200);
    expect(await stopped.process.exited).toMatchObject({ code: 0, signal: null });
  });
});

describe('a rolling restart of three instances under load, without retries', () => {
  test.for([true, false])(
    'no request fails where the agent owns the object, health feedback %s',
    async (healthFeedback) => {
      await using fleet = await Fleet.create({ names: NAMES, controlPlane: { healthFeedback } });
      const owned = fleet.agent('--lifecycle', 'agent');
      for (const instance of fleet.instances) instance.start(owned);
      await fleet.untilListed();

      const summary = await underLoad(fleet, HTTP1, async () => {
        for (const instance of fleet.instances) {
          instance.process.signal('SIGTERM');
          expect(await instance.process.exited).toMatchObject({ code: 0, signal: null });
          await fleet.untilListed(NAMES.filter((name) => name !== instance.name));
          instance.start(owned);
          await fleet.untilListed();
        }
      });

      expect(summary.byFailure).toEqual({});
    },
  );

  test('requests fail as Kuma’s documented unit restarts one of them: the tests above can fail', async () => {
    await using fleet = await Fleet.create({ names: NAMES });
    await fleet.start('bare');
    const restarted = fleet.instance(STOPPED);

    const summary = await underLoad(fleet, HTTP1, async () => {
      stopAsKumasUnitDoes(restarted);
      await restarted.process.exited;
      restarted.start('bare');
    });

    expect(summary.failed).toBeGreaterThan(0);
  });
});
