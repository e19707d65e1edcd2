import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import type { Fleet, Instance } from '../support/world/fleet.ts';
import { loseContact } from '../support/world/power-loss.ts';
import { waitUntil } from '../support/world/wait-until.ts';
import { agentsAlone } from './agents-alone.ts';
import { companionWorld, deletedNames, GRACE_MS, LOSS_BUDGET_MS, LOST, tell } from './companion-world.ts';

/** What does not happen is only known when it would have. */
const WATCHED_MS = 30_000;

describe.concurrent('the control plane is down until after one of three instances has stopped', () => {
  test('a companion that recorded the departure deletes the object as soon as the control plane is back', async () => {
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

  test('the object stays without a companion', async () => {
    await using setting = await agentsAlone();
    await stopUnheard(setting.fleet, setting.fleet.instance(LOST));

    await delay(WATCHED_MS);

    await setting.fleet.untilListed();
    expect(deletedNames(setting.fleet)).toEqual([]);
  });
});

describe('a host is cut off with everything on it, and comes back', () => {
  test('its object stays while the control plane holds its stream, goes a grace after that, and comes back by itself', async () => {
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
    // Other guards may hold it first: that of a companion which believes nothing yet, on a busy machine.
    await waitUntil(
      () => companion.process.seen('departure.held').some(({ guard }) => guard === 'subscription-online'),
      { what: 'the guard of its stream', budgetMs: 40_000 },
    );
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

/**
 * Sends it two stop signals, so that it does not drain, while its control plane is down.
 *
 * @returns `performance.now()` when the control plane is back
 */
async function stopUnheard({ controlPlane }: Fleet, { process: agent }: Instance): Promise<number> {
  // A stream that began less than 2 s before the departure request might be another run's: that costs 45 s.
  await delay(3_000);
  await controlPlane.crash();
  agent.signal('SIGTERM');
  await agent.waitForOutput('stop.requested');
  agent.signal('SIGTERM');
  await agent.exited;
  await controlPlane.start();
  return performance.now();
}
