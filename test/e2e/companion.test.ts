import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { FleetCompanion } from '../support/world/fleet-companion.ts';
import { Fleet, type Instance } from '../support/world/fleet.ts';
import { losePower } from '../support/world/power-loss.ts';
import { waitUntil } from '../support/world/wait-until.ts';
import {
  companionWorld,
  deletedNames,
  GRACE_MS,
  loseHost,
  LOSS_BUDGET_MS,
  LOST,
  STAYING,
  tell,
  type FleetWorld,
} from './companion-world.ts';
import { HTTP1, NAMES, underLoad } from '../support/world/under-load.ts';

/** What does not happen is only known when it would have. */
const WATCHED_MS = 30_000;

async function restart({ fleet, companion }: FleetWorld, instance: Instance): Promise<void> {
  instance.process.signal('SIGTERM');
  expect(await instance.process.exited).toMatchObject({ code: 0, signal: null });
  instance.start(companion.agent());
  await instance.process.waitForOutput(/dataplane\.ready|companion\.missed/, 60_000);
  await fleet.untilListed();
}

async function killedForAMoment(companion: FleetCompanion): Promise<void> {
  await companion.process.kill();
  await delay(1_000);
  await companion.start();
}

describe.concurrent('the host of one of three instances loses power while the control plane is down', () => {
  test.for([false, true])(
    'a companion removes it from its peers’ lists once the control plane is back; the companion is killed as well: %s',
    async (companionDies) => {
      await using world = await companionWorld();
      const { fleet, companion } = world;
      const { endpoint } = fleet.instance(LOST).command;
      const watch = fleet.watch();

      await underLoad(fleet, HTTP1, async (load) => {
        await loseHost(fleet);
        if (companionDies) await companion.process.kill();
        await delay(1_000);
        expect(watch.current, 'the peers are not told').toContain(endpoint);
        await fleet.controlPlane.start();
        const backAtMs = performance.now();
        if (companionDies) await companion.start();
        const { atMs } = await watch.waitFor('left', endpoint, {
          sinceMs: backAtMs,
          budgetMs: LOSS_BUDGET_MS,
        });
        tell(
          `power loss, companion ${companionDies ? 'killed as well' : 'stays'}: out of the list after`,
          atMs - backAtMs,
        );
        expect(load.summary(backAtMs).failed, 'it was missed').toBeGreaterThan(0);
        await load.waitForSuccesses(100);
        const calm = performance.now();
        await load.waitForSuccesses(100, { sinceMs: calm });
        expect(load.summary(calm).byFailure).toEqual({});
      });

      expect(deletedNames(fleet)).toEqual([`default/${LOST}`]);
      expect(watch.current.toSorted()).toEqual(
        STAYING.map((name) => fleet.instance(name).command.endpoint).toSorted(),
      );
    },
  );

  test('the object stays without a companion, and its share of the requests fails: the test above can fail', async () => {
    await using fleet = await Fleet.create({ names: NAMES });
    await fleet.start(fleet.agent('--lifecycle', 'agent'));

    await underLoad(fleet, HTTP1, async (load) => {
      await loseHost(fleet);
      await fleet.controlPlane.start();
      await delay(WATCHED_MS);
      const lately = load.summary(performance.now() - 5_000);
      expect(lately.failed / lately.sent).toBeGreaterThan(0.25);
    });

    await fleet.untilListed(NAMES);
    expect(deletedNames(fleet)).toEqual([]);
  });
});

describe.concurrent('the host of one of three instances loses power, with a Kuma that deletes no object (2.10.1)', () => {
  const controlPlane = { version: '2.10.1' } as const;

  test('a companion deletes its object after the grace', async () => {
    await using world = await companionWorld({ controlPlane }, ['--lifecycle', 'cp']);
    const { fleet } = world;
    const watch = fleet.watch();
    const { process: host, command } = fleet.instance(LOST);
    await fleet.untilListed();

    const lostAtMs = performance.now();
    await losePower(host);

    const { atMs } = await watch.waitFor('left', command.endpoint, {
      sinceMs: lostAtMs,
      budgetMs: LOSS_BUDGET_MS,
    });
    tell('2.10.1, power loss, companion: out of the list after', atMs - lostAtMs);
    expect(atMs - lostAtMs).toBeGreaterThan(GRACE_MS - 1_000);
    expect(deletedNames(fleet)).toEqual([`default/${LOST}`]);
  });

  test('the object stays without a companion', async () => {
    await using fleet = await Fleet.create({ names: NAMES, controlPlane });
    await fleet.start(fleet.agent('--lifecycle', 'cp'));

    await losePower(fleet.instance(LOST).process);
    await delay(WATCHED_MS);

    await fleet.untilListed(NAMES);
    expect(deletedNames(fleet)).toEqual([]);
  });
});

describe('a rolling restart of three instances under load, with a companion as their only endpoint', () => {
  test('no request fails', async () => {
    await using world = await companionWorld();
    const startedAtMs = performance.now();

    const summary = await underLoad(world.fleet, HTTP1, async () => {
      for (const instance of world.fleet.instances) await restart(world, instance);
    });

    tell('rolling restart of three, companion only', performance.now() - startedAtMs);
    expect(summary.byFailure).toEqual({});
    expect(deletedNames(world.fleet)).toEqual(NAMES.map((name) => `default/${name}`));
  });

  test('no request fails though the companion is killed while one stops, and comes back', async () => {
    await using world = await companionWorld();
    const { fleet, companion } = world;

    const summary = await underLoad(fleet, HTTP1, async () => {
      for (const instance of fleet.instances) {
        const restarted = restart(world, instance);
        if (instance.name === LOST) await killedForAMoment(companion);
        await restarted;
      }
    });

    expect(summary.byFailure).toEqual({});
  });
});

describe('a rolling restart of three instances under load, with a companion and the REST API behind it', () => {
  /** Told to own its object, the agent puts it at the control plane itself where no companion answers. */
  test('no request fails though the companion is killed while one starts, and comes back', async () => {
    await using fleet = await Fleet.create({ names: NAMES });
    await using companion = await FleetCompanion.start(fleet);
    const wrapping = companion.agent('--endpoint', fleet.controlPlane.httpUrl, '--lifecycle', 'agent');
    await fleet.start(wrapping);

    const summary = await underLoad(fleet, HTTP1, async () => {
      for (const instance of fleet.instances) {
        instance.process.signal('SIGTERM');
        expect(await instance.process.exited).toMatchObject({ code: 0, signal: null });
        const isBack = instance.name === LOST ? killedForAMoment(companion) : undefined;
        instance.start(wrapping);
        await instance.process.waitForOutput('dataplane.ready');
        await fleet.untilListed();
        await isBack;
      }
    });

    expect(summary.byFailure).toEqual({});
  });
});

describe('no dataplane leaves', () => {
  test('the companion deletes nothing and no request fails, though the control plane restarts twice, once killed, and the companion is killed', async () => {
    await using world = await companionWorld();
    const { fleet, companion } = world;
    const watch = fleet.watch();

    const summary = await underLoad(fleet, HTTP1, async () => {
      await fleet.controlPlane.stop();
      await delay(1_000);
      await fleet.controlPlane.start();
      await delay(2_000);
      await fleet.controlPlane.crash();
      await companion.process.kill();
      await delay(1_000);
      await fleet.controlPlane.start();
      await companion.start();
      await delay(GRACE_MS + 10_000);
    });

    expect(summary.byFailure).toEqual({});
    expect(deletedNames(fleet)).toEqual([]);
    expect(watch.changes.filter(({ kind }) => kind === 'left')).toEqual([]);
  });
});

describe('the companion is down when an instance starts', () => {
  test('the instance starts within a second, and the companion watches it later', async () => {
    await using fleet = await Fleet.create({ names: [LOST] });
    await using companion = await FleetCompanion.create(fleet);
    const instance = fleet.instance(LOST);

    const agent = instance.start(companion.agent());
    await agent.waitForOutput('child.spawned');
    const waitedMs = timeOf(agent.stderr, 'child.spawned') - timeOf(agent.stderr, 'agent.started');
    tell('companion down at start: kuma-dp starts after', waitedMs);
    // It waits 0.8 s; the rest is the time that this machine takes to load the agent.
    expect(waitedMs).toBeLessThan(2_000);
    await agent.waitForOutput(/"companion\.missed","budgetMs":(?:799|800)/);
    await fleet.untilListed();

    await companion.start();
    await agent.waitForOutput('companion.attached', 60_000);
    await losePower(agent);
    await waitUntil(async () => (await fleet.client.endpoints()).length === 0, {
      what: 'the peer to list no endpoint',
      budgetMs: LOSS_BUDGET_MS,
    });
  });
});

/** When the agent logged an event, in milliseconds since the epoch. */
function timeOf(log: string, event: string): number {
  const line = log.split('\n').find((one) => one.includes(`"${event}"`));
  return Date.parse((JSON.parse(line ?? '{}') as { time: string }).time);
}
