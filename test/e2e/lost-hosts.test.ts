import { setTimeout as delay } from 'node:timers/promises';

import { beforeEach, describe, expect, test } from 'vitest';

import { need } from '../support/need.ts';
import { needNetworkNamespaces } from '../support/namespaces.ts';
import { LoadGenerator } from '../support/world/load-generator.ts';
import { APPLICATION_PORT, NetworkFleet, type NetworkFleetOptions } from '../support/world/network-fleet.ts';
import { losePower } from '../support/world/power-loss.ts';
import { NAMES } from '../support/world/under-load.ts';
import { acquainted, failWith, leavers, sidelinedIn } from './acquainted.ts';
import { tell } from './companion-world.ts';

const LOST = 'backend-2';
const RATE_PER_SECOND = 50;
/** The bounds of the promise, and a machine that is busy with four Envoys. */
const KILLED_MS = 4_000;
const SILENT_MS = 15_000;
const BACK_MS = 8_000;
/** So long a row without witnesses is watched. */
const BARE_MS = 30_000;
/** Kuma's caches add 1.3 s on average, half of a tenth of a bare loss; these add 0.2 s. */
const QUICK_CACHES = { storeCacheMs: 200, refreshMs: 200 };
const EIGHT = Array.from({ length: 8 }, (_, at) => `backend-${at + 1}`);
const RACK = EIGHT.slice(0, 3);

beforeEach((context) => {
  needNetworkNamespaces(context);
});

describe('the host of one of three instances', () => {
  test('is killed: out of its peers’ list within seconds, and at most a quarter as many requests fail as bare', async () => {
    const bare = await killed({ with: 'bare' });
    const ours = await killed({ with: 'companion' });
    const quick = await killed({ with: 'companion', controlPlane: QUICK_CACHES });
    for (const [how, { outMs, decidedMs, failed }] of Object.entries({ bare, ours, quick })) {
      tell(`killed, ${how}: out of the list after`, outMs);
      if (decidedMs !== undefined) tell(`killed, ${how}: NotReady at the control plane after`, decidedMs);
      console.info(
        `killed, ${how}: ${failed} failed, ${((100 * failed) / bare.failed).toFixed(1)} % of bare`,
      );
    }
    expect(ours.outMs).toBeLessThan(KILLED_MS);
    expect(ours.failed).toBeLessThan(bare.failed / 4);
    expect(quick.failed).toBeLessThanOrEqual(bare.failed / 10);
  });

  test.for([{ healthFeedback: true }, { healthFeedback: false }])(
    'falls silent, health feedback $healthFeedback: out within 15 s, back when it is back',
    async ({ healthFeedback }) => {
      await using fleet = await acquainted({ names: NAMES, with: 'companion', healthFeedback });
      const { host, command } = fleet.instance(LOST);
      const watcher = fleet.watch();
      const silentAtMs = performance.now();
      host.fallSilent();
      const left = await watcher
        .waitFor('left', command.endpoint, { sinceMs: silentAtMs, budgetMs: 40_000 })
        .catch(failWith(fleet));
      tell('silent, companion: out of the list after', left.atMs - silentAtMs);
      expect(left.atMs - silentAtMs).toBeLessThan(SILENT_MS);
      const backAtMs = performance.now();
      host.comeBack();
      const entered = await watcher
        .waitFor('entered', command.endpoint, { sinceMs: backAtMs, budgetMs: 40_000 })
        .catch(failWith(fleet));
      tell('silent and back, companion: in the list again after', entered.atMs - backAtMs);
      expect(entered.atMs - backAtMs).toBeLessThan(BACK_MS);
      expect(watcher.current).toHaveLength(NAMES.length);
    },
  );

  test('falls silent where the companion may ask no witness: its peers still list it after 30 s', async () => {
    await using fleet = await NetworkFleet.start({
      names: NAMES,
      with: 'companion',
      companionArgv: ['--witness', 'off'],
    });
    const watcher = fleet.watch();
    fleet.instance(LOST).host.fallSilent();
    await delay(BARE_MS);
    expect(leavers(watcher)).toEqual([]);
  });

  test('is killed while one of its two witnesses is redirected to a port that accepts everything: the companion still takes it out', async (context) => {
    need(context, 'iptables');
    await using fleet = await acquainted({ names: NAMES, with: 'companion', healthFeedback: false });
    fleet.instance('backend-1').host.redirect(APPLICATION_PORT, fleet.address);
    const watcher = fleet.watch();
    const { process: lost, command } = fleet.instance(LOST);
    const killedAtMs = performance.now();
    await losePower(lost);
    const left = await watcher
      .waitFor('left', command.endpoint, { sinceMs: killedAtMs, budgetMs: 40_000 })
      .catch(failWith(fleet));
    tell('killed, a witness is redirected: out of the list after', left.atMs - killedAtMs);
    expect(left.atMs - killedAtMs).toBeLessThan(KILLED_MS);
    expect(leavers(watcher)).toHaveLength(1);
  });

  test('is killed, and the companion in the middle of the look: the companion takes no other out, and its object goes', async () => {
    await using fleet = await acquainted({ names: NAMES, with: 'companion', healthFeedback: false });
    const { companion } = fleet;
    const watcher = fleet.watch();
    const { process: lost, command } = fleet.instance(LOST);
    const killedAtMs = performance.now();
    const suspected = companion?.waitForEvent('witness.suspected');
    await losePower(lost);
    await suspected;
    await companion?.restart('kill');
    const left = await watcher
      .waitFor('left', command.endpoint, { sinceMs: killedAtMs, budgetMs: 60_000 })
      .catch(failWith(fleet));
    tell('killed, and the companion in mid-look: out of the list after', left.atMs - killedAtMs);
    // As Kuma alone, or sooner.
    expect(left.atMs - killedAtMs).toBeLessThan(SILENT_MS);
    await delay(5_000);
    expect(leavers(watcher).map(({ endpoint }) => endpoint)).toEqual([command.endpoint]);
  });
});

test('a rack of three out of eight falls silent: the companion takes out all three, and no other', async () => {
  await using fleet = await acquainted({ names: EIGHT, with: 'companion' });
  const watcher = fleet.watch();
  const silentAtMs = performance.now();
  for (const name of RACK) fleet.instance(name).host.fallSilent();
  const outMs: number[] = [];
  for (const name of RACK) {
    const { endpoint } = fleet.instance(name).command;
    const left = await watcher
      .waitFor('left', endpoint, { sinceMs: silentAtMs, budgetMs: 60_000 })
      .catch(failWith(fleet));
    outMs.push(left.atMs - silentAtMs);
  }
  tell('a rack of three of eight, silent: the last one out of the list after', Math.max(...outMs));
  expect(Math.max(...outMs)).toBeLessThan(20_000);
  expect(leavers(watcher)).toHaveLength(RACK.length);
});

async function killed(options: Pick<NetworkFleetOptions, 'with' | 'controlPlane'>): Promise<{
  readonly outMs: number;
  readonly failed: number;
  /** Until the companion had its ports NotReady. */
  readonly decidedMs: number | undefined;
}> {
  await using fleet = await acquainted({ names: NAMES, healthFeedback: false, ...options });
  const watcher = fleet.watch();
  await using load = new LoadGenerator({
    target: { protocol: 'http1', port: fleet.client.ports.http1 },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  const { process: host, command } = fleet.instance(LOST);
  const killedAtMs = performance.now();
  const killedAt = Date.now();
  await losePower(host);
  const left = await watcher
    .waitFor('left', command.endpoint, { sinceMs: killedAtMs, budgetMs: 40_000 })
    .catch(failWith(fleet));
  await load.waitForSuccesses(RATE_PER_SECOND);
  const { failed } = await load.stop();
  return { outMs: left.atMs - killedAtMs, failed, decidedMs: sidelinedIn(fleet, killedAt) };
}
