import { beforeEach, describe, expect, test } from 'vitest';

import { needNetworkNamespaces } from '../support/namespaces.ts';
import type { EndpointChange, EndpointWatcher } from '../support/world/endpoint-watcher.ts';
import { LoadGenerator } from '../support/world/load-generator.ts';
import { NetworkFleet, type NetworkFleetOptions } from '../support/world/network-fleet.ts';
import { loseContact, losePower } from '../support/world/power-loss.ts';
import { NAMES } from '../support/world/under-load.ts';
import { tell } from './companion-world.ts';

const LOST = 'backend-2';
const RATE_PER_SECOND = 50;
/** The bounds of the promise, and a machine that is busy with four Envoys. */
const KILLED_MS = 4_000;
const SILENT_MS = 15_000;
const BACK_MS = 8_000;
/** The companion lists the fleet every 16 s, and has the agents look at what is in the list. */
const ACQUAINTED_MS = 30_000;
/** So long a row without witnesses is watched. */
const BARE_MS = 30_000;

beforeEach((context) => {
  needNetworkNamespaces(context);
});

describe('the host of one of three instances', () => {
  test('is killed: out of its peers’ list within seconds, and at most a third as many requests fail as bare', async () => {
    const [bare, ours] = [await killed('bare'), await killed('companion')];
    tell('killed, bare: out of the list after', bare.outMs);
    tell('killed, companion: out of the list after', ours.outMs);
    console.info(`killed: ${bare.failed} failed bare, ${ours.failed} with the companion`);
    expect(ours.outMs).toBeLessThan(KILLED_MS);
    expect(ours.outMs).toBeLessThan(bare.outMs);
    expect(ours.failed).toBeLessThan(bare.failed / 3);
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

  test('falls silent where no witness may be asked: still listed after 30 s', async () => {
    await using fleet = await acquainted({
      names: NAMES,
      with: 'companion',
      companionArgv: ['--witness', 'off'],
    });
    const watcher = fleet.watch();
    fleet.instance(LOST).host.fallSilent();
    await delay(BARE_MS);
    expect(leavers(watcher)).toEqual([]);
  });

  test('freezes, and its kernel accepts connections: stays in its peers’ list', async () => {
    await using fleet = await acquainted({ names: NAMES, with: 'companion' });
    const watcher = fleet.watch();
    const thaw = loseContact(fleet.instance(LOST).process);
    await delay(SILENT_MS);
    thaw();
    await delay(2_000);
    expect(leavers(watcher)).toEqual([]);
  });
});

describe('a partition by which the companion hears', () => {
  test.for([
    { who: 'one instance no more, while its peers reach it', cut: [LOST] },
    { who: 'no instance any more', cut: NAMES },
  ])('$who: every instance stays in its peers’ list', async ({ cut }) => {
    await using fleet = await acquainted({ names: NAMES, with: 'companion' });
    const watcher = fleet.watch();
    const { address } = fleet;
    for (const name of cut) fleet.instance(name).host.loseWayTo(address);
    await fleet.companion?.waitForEvent('agent.lost', { count: cut.length });
    await delay(SILENT_MS);
    expect(leavers(watcher)).toEqual([]);
    for (const name of cut) fleet.instance(name).host.findWayTo(address);
  });
});

function leavers(watcher: EndpointWatcher): readonly EndpointChange[] {
  expect(watcher.changes.filter(({ kind }) => kind === 'entered').length).toBeGreaterThanOrEqual(
    NAMES.length,
  );
  return watcher.changes.filter(({ kind }) => kind === 'left');
}

/** A fleet whose agents have reached each other. */
async function acquainted(options: NetworkFleetOptions): Promise<NetworkFleet> {
  const fleet = await NetworkFleet.start(options);
  if (options.with === 'companion') await delay(ACQUAINTED_MS);
  return fleet;
}

async function killed(
  how: 'bare' | 'companion',
): Promise<{ readonly outMs: number; readonly failed: number }> {
  await using fleet = await acquainted({ names: NAMES, with: how, healthFeedback: false });
  const watcher = fleet.watch();
  await using load = new LoadGenerator({
    target: { protocol: 'http1', port: fleet.client.ports.http1 },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  const { process: host, command } = fleet.instance(LOST);
  const killedAtMs = performance.now();
  await losePower(host);
  const left = await watcher
    .waitFor('left', command.endpoint, { sinceMs: killedAtMs, budgetMs: 40_000 })
    .catch(failWith(fleet));
  await load.waitForSuccesses(RATE_PER_SECOND);
  return { outMs: left.atMs - killedAtMs, failed: (await load.stop()).failed };
}

function failWith(fleet: NetworkFleet): (error: unknown) => never {
  return (error) => {
    throw new Error(`${String(error)}\n${fleet.said}`);
  };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
