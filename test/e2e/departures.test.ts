import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import { Fleet, type Instance, type Wrapping } from '../support/world/fleet.ts';
import { childrenOf, descendantsOf, loseContact } from '../support/world/power-loss.ts';
import { isAlive } from '../support/kuma-worlds/solo-dataplane.ts';
import { waitUntil } from '../support/world/wait-until.ts';
import { companionWorld, deletedNames, GRACE_MS, LOSS_BUDGET_MS, LOST, tell } from './companion-world.ts';
import { HTTP1, NAMES, startAll, underLoad } from './under-load.ts';

/** What does not happen is only known when it would have. */
const WATCHED_MS = 30_000;

interface Setting extends AsyncDisposable {
  readonly fleet: Fleet;
  /** Whether there is a companion. */
  readonly watched: boolean;
}

/** With a companion as only endpoint, and with the REST API as only endpoint. */
const SETTINGS = [
  { name: 'agent and companion', open: watchedOver },
  { name: 'agent alone', open: agentsAlone },
] as const;

async function watchedOver(): Promise<Setting> {
  const world = await companionWorld();
  return { ...world, watched: true };
}

async function agentsAlone(): Promise<Setting> {
  await using opening = new AsyncDisposableStack();
  const fleet = opening.use(await Fleet.create({ names: NAMES }));
  const wrapping: Wrapping = fleet.agent('--lifecycle', 'agent');
  await startAll(fleet, wrapping);
  const world = opening.move();
  return { fleet, watched: false, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/**
 * It is told twice to stop, so that it does not drain, while its control plane is down.
 *
 * @returns `performance.now()` when that is back
 */
async function stopUnheard({ controlPlane }: Fleet, { process: agent }: Instance): Promise<number> {
  // A stream that began less than 2 s before the announcement might be somebody else's: that costs 45 s.
  await delay(3_000);
  await controlPlane.crash();
  agent.signal('SIGTERM');
  await agent.waitForOutput('stop.requested');
  agent.signal('SIGTERM');
  await agent.exited;
  await controlPlane.start();
  return performance.now();
}

/** kuma-dp, whose parent is the agent. */
function kumaDpOf({ process: { pid } }: Instance): number {
  const [kumaDp] = childrenOf(pid);
  if (kumaDp === undefined) throw new Error('The agent has no child');
  return kumaDp;
}

function envoyOf(instance: Instance): number {
  const envoy = descendantsOf(kumaDpOf(instance)).at(-1);
  if (envoy === undefined) throw new Error('kuma-dp has no Envoy');
  return envoy;
}

describe.for(SETTINGS)('one of three instances goes, $name', ({ name, open }) => {
  test.for([
    { what: 'kuma-dp', pidOf: kumaDpOf },
    { what: 'Envoy', pidOf: envoyOf },
  ])('its $what is killed: the agent takes the object away at once', async ({ what, pidOf }) => {
    await using setting = await open();
    const { fleet } = setting;
    const instance = fleet.instance(LOST);
    const watch = fleet.watch();
    const summary = await underLoad(fleet, HTTP1, async () => {
      const sinceMs = performance.now();
      process.kill(pidOf(instance), 'SIGKILL');
      const [left] = await Promise.all([
        watch.waitFor('left', instance.command.endpoint, { sinceMs }),
        fleet.controlPlane.journal
          .waitForEvent(({ kind }) => kind === 'deleted')
          .then(() => {
            tell(`${what} killed, ${name}: object gone after`, performance.now() - sinceMs);
          }),
      ]);
      tell(`${what} killed, ${name}: out of the list after`, left.atMs - sinceMs);
      expect(left.atMs - sinceMs).toBeLessThan(10_000);
    });
    console.info(`${what} killed, ${name}: ${summary.failed} of ${summary.sent} failed`);
    expect(deletedNames(fleet)).toEqual([`default/${LOST}`]);
  });

  // The kernel tells kuma-dp once for each thread of the agent that dies, and its second SIGTERM ends its drain: so it
  // ends at once or after its drain time, and whether health feedback comes first differs from time to time.
  test('its agent is killed: kuma-dp follows, and only a companion takes the object away', async () => {
    await using setting = await open();
    const { fleet, watched } = setting;
    const instance = fleet.instance(LOST);
    const kumaDp = kumaDpOf(instance);
    const watch = fleet.watch();
    const summary = await underLoad(fleet, HTTP1, async () => {
      const sinceMs = performance.now();
      instance.process.signal('SIGKILL');
      await waitUntil(() => !isAlive(kumaDp), { what: 'kuma-dp to have ended', budgetMs: 60_000 });
      tell(`agent killed, ${name}: kuma-dp ended after`, performance.now() - sinceMs);
      if (!watched) return delay(WATCHED_MS);
      await fleet.controlPlane.journal.waitForEvent(({ kind }) => kind === 'deleted', {
        budgetMs: LOSS_BUDGET_MS,
      });
      tell(`agent killed, ${name}: object gone after`, performance.now() - sinceMs);
      const left = await watch.waitFor('left', instance.command.endpoint, { sinceMs });
      tell(`agent killed, ${name}: out of the list after`, left.atMs - sinceMs);
    });
    console.info(`agent killed, ${name}: ${summary.failed} of ${summary.sent} failed`);
    expect(deletedNames(fleet)).toEqual(watched ? [`default/${LOST}`] : []);
  });

  test('its control plane is down when it stops, and comes back during the drain', async () => {
    await using setting = await open();
    const { fleet } = setting;
    const { process: agent, command } = fleet.instance(LOST);
    const watch = fleet.watch();
    const summary = await underLoad(fleet, HTTP1, async () => {
      await fleet.controlPlane.crash();
      agent.signal('SIGTERM');
      // By then the agent has given up to see the object gone.
      await agent.waitForOutput(/deregistration\.failed|dataplane\.handed-over/, 30_000);
      await fleet.controlPlane.start();
      const backAtMs = performance.now();
      const left = await watch.waitFor('left', command.endpoint, {
        sinceMs: backAtMs,
        budgetMs: LOSS_BUDGET_MS,
      });
      tell(`control plane down at the stop, ${name}: out of the list after its return`, left.atMs - backAtMs);
      expect((await agent.exited).code).toBe(0);
    });
    console.info(`control plane down at the stop, ${name}: ${summary.failed} of ${summary.sent} failed`);
    console.info(`control plane down at the stop, ${name}: gone: ${deletedNames(fleet).join(' ')}`);
    // As long as peers keep it, they may write to a connection that its draining Envoy is about to close.
    expect(summary.failed).toBeLessThan(5);
    // Twice where its Envoy, back at the control plane, has created it again.
    expect(new Set(deletedNames(fleet))).toEqual(new Set([`default/${LOST}`]));
  });
});

describe.concurrent('the control plane is down until after one of three instances has stopped', () => {
  test('a companion that was told takes it away as soon as the control plane is back', async () => {
    await using world = await companionWorld();
    const { fleet } = world;
    const instance = fleet.instance(LOST);
    const watch = fleet.watch();

    const backAtMs = await stopUnheard(fleet, instance);

    const wait = { sinceMs: backAtMs, budgetMs: LOSS_BUDGET_MS };
    const { atMs } = await watch.waitFor('left', instance.command.endpoint, wait);
    tell(
      'control plane down until after the stop, agent and companion: out of the list after its return',
      atMs - backAtMs,
    );
    expect(deletedNames(fleet)).toEqual([`default/${LOST}`]);
  });

  test('without a companion it stays', async () => {
    await using setting = await agentsAlone();
    await stopUnheard(setting.fleet, setting.fleet.instance(LOST));

    await delay(WATCHED_MS);

    await setting.fleet.untilListed();
    expect(deletedNames(setting.fleet)).toEqual([]);
  });
});

describe('a host is cut off with everything on it, and comes back', () => {
  test('it is kept while its control plane holds its stream, goes a grace after that ends, and comes back by itself', async () => {
    await using world = await companionWorld();
    const { fleet, companion } = world;
    const { process: agent, command } = fleet.instance(LOST);
    const watch = fleet.watch();
    await fleet.untilListed();
    using contact = new DisposableStack();

    const cutAtMs = performance.now();
    contact.defer(loseContact(agent));
    await companion.process.waitForEvent('agent.lost', { budgetMs: 40_000 });
    tell('cut off: noticed by the companion after', performance.now() - cutAtMs);
    const held = await companion.process.waitForEvent('departure.held', { budgetMs: 40_000 });
    expect(held['guard']).toBe('subscription-online');
    await delay(GRACE_MS);
    expect(deletedNames(fleet)).toEqual([]);

    fleet.controlPlane.dropStreams(LOST);
    const droppedAtMs = performance.now();
    const left = await watch.waitFor('left', command.endpoint, {
      sinceMs: droppedAtMs,
      budgetMs: LOSS_BUDGET_MS,
    });
    tell('cut off: out of the list, since its control plane noticed, after', left.atMs - droppedAtMs);

    contact.dispose();
    const backAtMs = performance.now();
    await fleet.untilListed();
    tell('cut off: back in the list, since it is back, after', performance.now() - backAtMs);
    await waitUntil(() => fleet.instance(LOST).answers(), { what: `${LOST} to serve` });
  });
});
