import { setTimeout as delay } from 'node:timers/promises';

import { describe, expect, test } from 'vitest';

import type { Instance } from '../support/world/fleet.ts';
import { childrenOf, descendantsOf } from '../support/world/power-loss.ts';
import { lives } from '../support/world/processes.ts';
import { waitUntil } from '../support/world/wait-until.ts';
import { agentsAlone, type Setting } from './agents-alone.ts';
import { companionWorld, deletedNames, LOSS_BUDGET_MS, LOST, tell } from './companion-world.ts';
import { HTTP1, underLoad } from '../support/world/under-load.ts';

/** What does not happen is only known when it would have. */
const WATCHED_MS = 30_000;

/** A companion as the only endpoint, and the REST API as the only endpoint. */
const SETTINGS = [
  { name: 'agent and companion', open: watchedOver },
  { name: 'agent alone', open: agentsAlone },
] as const;

async function watchedOver(): Promise<Setting> {
  const world = await companionWorld();
  return { ...world, watched: true };
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

describe.for(SETTINGS)('one of three instances ends, $name', ({ name, open }) => {
  test.for([
    { what: 'kuma-dp', pidOf: kumaDpOf },
    { what: 'Envoy', pidOf: envoyOf },
  ])('its $what is killed: the agent deletes the object at once', async ({ what, pidOf }) => {
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

  // kuma-dp gets one signal and drains for its whole time; health feedback takes it out of the list long before.
  test('its agent is killed: kuma-dp follows, and only a companion deletes the object', async () => {
    await using setting = await open();
    const { fleet, watched } = setting;
    const instance = fleet.instance(LOST);
    const kumaDp = kumaDpOf(instance);
    const watch = fleet.watch();
    const summary = await underLoad(fleet, HTTP1, async () => {
      const sinceMs = performance.now();
      instance.process.signal('SIGKILL');
      await waitUntil(() => !lives(kumaDp), { what: 'kuma-dp to have ended', budgetMs: 60_000 });
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
    // As long as peers keep it, they may write to a connection that its draining Envoy is about to close.
    expect(summary.failed).toBeLessThan(5);
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
      // By then kuma-dp drains although the object still exists.
      await agent.waitForOutput(/deregistration\.(?:late|failed)|dataplane\.handed-over/, 30_000);
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
