import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { WorldCompanion } from '../support/kuma-worlds/world-companion.ts';
import { WorldFleet } from '../support/kuma-worlds/world-fleet.ts';
import { kumasUnderAgent } from '../support/kuma-worlds/worlds.ts';
import { type Instance } from '../support/world/fleet.ts';
import { losePower } from '../support/world/power-loss.ts';

/** For the companion's looks, the control plane's records and its caches, on a busy machine. */
const MARGIN_MS = 25_000;
/** A peer's Envoy that lost its control plane as well tries again after up to 30 s. */
const RECONNECT_MS = 30_000;

interface Pair extends AsyncDisposable {
  readonly fleet: WorldFleet;
  readonly companion: WorldCompanion;
  /** What something happens to. */
  readonly lost: Instance;
  readonly staying: Instance;
}

/** Whose departures the companion finished, as soon as there is one; it may find that the control plane was first. */
async function untilFinished({ companion }: Pair): Promise<readonly unknown[]> {
  await companion.process.waitForEvent('departure.ended', { budgetMs: MARGIN_MS });
  return finished(companion);
}

function finished(companion: WorldCompanion): readonly unknown[] {
  return companion.process.seen('departure.ended').map(({ dataplane }) => dataplane);
}

describe.for(kumasUnderAgent)(
  'an agent and a companion on $label',
  { concurrent: false },
  ({ label, create, real }) => {
    /** The companion's default where Kuma's own intervals hold. */
    const graceMs = real ? 15_000 : 5_000;
    let world: KumaWorld;

    beforeAll(async () => {
      world = await create();
    });

    afterAll(async () => {
      await world[Symbol.asyncDispose]();
    });

    function tell(what: string, ms: number): void {
      console.info(`${label}: ${what}: ${(ms / 1_000).toFixed(2)} s`);
    }

    /** Two instances of one service, and a companion that knows no other dataplane: the brake counts per companion. */
    async function pair(service: string, ...agentOptions: readonly string[]): Promise<Pair> {
      await using opening = new AsyncDisposableStack();
      const companion = opening.use(await WorldCompanion.start(world, { grace: `${graceMs}ms` }));
      const fleet = opening.use(await WorldFleet.create(world, { service, size: 2, drainTime: '2s' }));
      const [lost, staying] = fleet.instances as [Instance, Instance];
      for (const instance of fleet.instances) instance.start(companion.agent(fleet, ...agentOptions));
      await fleet.untilListed();
      for (const instance of fleet.instances) {
        await fleet.untilServing(instance);
        await instance.process.waitForOutput('companion.attached');
        await fleet.objects.untilOnline(instance.name);
      }
      const all = opening.move();
      return { fleet, companion, lost, staying, [Symbol.asyncDispose]: () => all[Symbol.asyncDispose]() };
    }

    /** The first goes, the second stays. */
    async function untilOnlyOneIsLeft(
      { fleet, lost, staying }: Pair,
      sinceMs: number,
      what: string,
    ): Promise<number> {
      const budgetMs = graceMs + RECONNECT_MS + MARGIN_MS;
      const [goneAtMs, leftAtMs] = await Promise.all([
        fleet.objects.untilGone(lost.name, budgetMs),
        fleet.untilListed([staying], budgetMs),
      ]);
      tell(`${what}: object gone`, goneAtMs - sinceMs);
      tell(`${what}: out of the list`, leftAtMs - sinceMs);
      expect(await fleet.objects.exists(staying.name)).toBe(true);
      expect(await staying.answers()).toBe(true);
      return goneAtMs - sinceMs;
    }

    test('a restart goes through the companion alone, with a dataplane token: quick, and no request fails', async () => {
      await using here = await pair('restart-companion');
      const { fleet, companion, lost, staying } = here;
      const load = fleet.load();
      await load.waitForSuccesses(50);

      const stoppedAtMs = performance.now();
      lost.process.signal('SIGTERM');
      tell('stop: object gone', (await fleet.objects.untilGone(lost.name)) - stoppedAtMs);
      tell('stop: out of the list', (await fleet.untilListed([staying])) - stoppedAtMs);
      expect(await lost.process.exited).toMatchObject({ code: 0 });
      const startedAtMs = performance.now();
      lost.start(companion.agent(fleet));
      tell('restart: start to serving', (await fleet.untilServing(lost)) - startedAtMs);
      tell('restart: stop to listed again', (await fleet.untilListed()) - stoppedAtMs);
      await load.waitForSuccesses(100);

      const { failed, byFailure } = await load.stop();
      expect({ failed, byFailure }).toEqual({ failed: 0, byFailure: {} });
      expect(fleet.reports().at(-1)?.steps[0]).toMatchObject({ step: 'deregister', outcome: 'gone' });
      expect(companion.process.seen('token.refused')).toEqual([]);
      expect(companion.process.seen('agent.refused')).toEqual([]);
    });

    test('an agent that is killed: its kuma-dp follows, and the companion deletes its object after the grace', async () => {
      await using here = await pair('agent-killed');
      const killedAtMs = performance.now();
      here.lost.process.signal('SIGKILL');

      const goneAfterMs = await untilOnlyOneIsLeft(here, killedAtMs, 'agent killed');

      // On a machine too busy to attach within its second, it started as its control plane's, which may be first.
      expect(goneAfterMs).toBeGreaterThan(Math.min(graceMs, world.timing.deregistrationDelayMs) - 500);
      expect(await untilFinished(here)).toEqual([`default/${here.lost.name}`]);
    });

    test('an object of --lifecycle cp goes after a power loss: its control plane deletes it or not', async () => {
      await using here = await pair('leak', '--lifecycle', 'cp');
      const lostAtMs = performance.now();
      await losePower(here.lost.process);

      const goneAfterMs = await untilOnlyOneIsLeft(here, lostAtMs, 'power loss (lifecycle cp)');

      const byItself = world.behaviour.deletesAfterDisconnect || !world.durable;
      expect(goneAfterMs > graceMs - 500).toBe(!byItself || world.timing.deregistrationDelayMs >= graceMs);
    });

    test('the same name comes back within the grace, and stays', async () => {
      await using here = await pair('back-again');
      const { fleet, companion, lost } = here;
      await losePower(lost.process);
      await companion.process.waitForEvent('agent.lost');
      const startedAtMs = performance.now();
      lost.start(companion.agent(fleet));
      // On a machine too busy to put the object within its second, it starts as its control plane's.
      await lost.process.waitForOutput(/dataplane\.ready|companion\.missed|ownership\.given-up/, 60_000);
      await fleet.untilServing(lost);
      tell('back within the grace: start to serving', performance.now() - startedAtMs);

      await delay(graceMs + 10_000);

      await fleet.untilListed();
      expect(await lost.answers()).toBe(true);
      expect(finished(companion)).toEqual([]);
      const epochs = companion.process
        .seen('agent.attached')
        .filter(({ dataplane }) => dataplane === `default/${lost.name}`)
        .map(({ epoch }) => Number(epoch));
      // On a machine too busy to attach within its second, it attaches once more as the owner that it is then.
      const [first = 0, second = 0, ...more] = new Set(epochs);
      expect(second).toBeGreaterThan(first);
      expect(more).toEqual([]);
    });

    test("an object that was its control plane's comes back as the agent's, though the control plane deletes the name once more", async () => {
      await using here = await pair('taken-over', '--lifecycle', 'cp');
      const { fleet, companion, lost } = here;
      await losePower(lost.process);
      const startedAtMs = performance.now();
      lost.start(companion.agent(fleet, '--lifecycle', 'agent'));
      await lost.process.waitForOutput('dataplane.ready', RECONNECT_MS + MARGIN_MS);
      tell("from its control plane's to the agent's: start to ready", performance.now() - startedAtMs);
      await fleet.untilListed();
      expect(await lost.answers()).toBe(true);
    });

    test('a host and its control plane are lost together: the object goes once the control plane is back', async ({
      skip,
    }) => {
      if (!world.durable) skip('objects go with this control plane');
      await using here = await pair('host-lost');
      await world.kill();
      await losePower(here.lost.process);
      await world.start();
      const backAtMs = performance.now();

      await untilOnlyOneIsLeft(here, backAtMs, 'host lost with its control plane, since that is back');

      expect(await untilFinished(here)).toEqual([`default/${here.lost.name}`]);
    });
  },
);
