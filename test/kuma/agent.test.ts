import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { lives } from '../support/world/processes.ts';
import { WorldFleet } from '../support/kuma-worlds/world-fleet.ts';
import { kumasUnderAgent } from '../support/kuma-worlds/worlds.ts';
import { AGENT, type Instance } from '../support/world/fleet.ts';
import { HttpApplication, INSTANCE_HEADER } from '../support/world/http-application.ts';
import { ManagedProcess } from '../support/world/managed-process.ts';
import { childrenOf } from '../support/world/power-loss.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const MARGIN_MS = 1_500;
/** The duration of a start without the 11 s and more that a refused name costs. */
const QUICK_MS = 9_000;
/** For a stop that waits only for the peers, kuma-dp's own end and this machine. */
const STOP_BUDGET_MS = 10_000;

interface RollOutcome {
  readonly failed: number;
  readonly byFailure: Readonly<Record<string, number>>;
  /** How many instances gave an answer. */
  readonly answering: number;
}

const UNNOTICED: RollOutcome = { failed: 0, byFailure: {}, answering: 3 };

describe.concurrent.for(kumasUnderAgent)('kuma-dp-agent on $label', ({ label, create, real }) => {
  let world: KumaWorld;

  beforeAll(async () => {
    world = await create();
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  function tell(what: string, ms: number): void {
    console.info(`${label}: ${what}: ${ms.toFixed(0)} ms`);
  }

  /** Deleted object to shortened list. */
  function propagationMs(): number {
    return world.timing.storeCacheMs + world.timing.refreshMs + MARGIN_MS;
  }

  async function roll(where: KumaWorld): Promise<RollOutcome> {
    await using fleet = await WorldFleet.create(where, { service: 'roll', size: 3 });
    for (const instance of fleet.instances) instance.start(fleet.agent('--lifecycle', 'agent'));
    await fleet.untilListed();
    const load = fleet.load();
    await load.waitForSuccesses(50);
    const startedAtMs = performance.now();
    for (const instance of fleet.instances) {
      const stoppedAtMs = performance.now();
      instance.process.signal('SIGTERM');
      expect(await instance.process.exited).toMatchObject({ code: 0 });
      instance.start(fleet.agent('--lifecycle', 'agent'));
      await fleet.untilListed();
      tell(`roll: ${instance.name} out of the list at most`, performance.now() - stoppedAtMs);
    }
    tell('roll of three', performance.now() - startedAtMs);
    await load.waitForSuccesses(100);
    const { failed, byFailure, byInstance } = await load.stop();
    return { failed, byFailure, answering: Object.keys(byInstance).length };
  }

  describe('one instance', { concurrent: false }, () => {
    test.for(['cp', 'agent'] as const)(
      'a stop with --lifecycle %s deletes the object, leaves the list and drains, and no request fails',
      async (lifecycle) => {
        await using fleet = await WorldFleet.create(world, { service: `stop-${lifecycle}`, size: 2 });
        const [leaving, staying] = fleet.instances as [Instance, Instance];
        for (const instance of fleet.instances) instance.start(fleet.agent('--lifecycle', lifecycle));
        await fleet.untilListed();
        for (const instance of fleet.instances) await fleet.untilServing(instance);
        await fleet.objects.untilThere(leaving.name);
        const load = fleet.load();
        await load.waitForSuccesses(50);

        const stoppedAtMs = performance.now();
        leaving.process.signal('SIGTERM');
        const [goneAtMs, leftAtMs] = await Promise.all([
          fleet.objects.untilGone(leaving.name),
          fleet.untilListed([staying]),
        ]);
        expect(await leaving.answers(), 'it serves when its peers let go').toBe(true);
        const { code, atMs: exitedAtMs } = await leaving.process.exited;
        expect(code).toBe(0);
        await load.waitForSuccesses(100);
        const { failed, byFailure, byInstance } = await load.stop();

        tell(`stop (${lifecycle}): object gone`, goneAtMs - stoppedAtMs);
        tell(`stop (${lifecycle}): out of the list`, leftAtMs - stoppedAtMs);
        tell(`stop (${lifecycle}): ended`, exitedAtMs - stoppedAtMs);
        expect({ failed, byFailure }).toEqual({ failed: 0, byFailure: {} });
        expect(byInstance[leaving.name]).toBeGreaterThan(0);
        expect(goneAtMs - stoppedAtMs).toBeLessThan(MARGIN_MS);
        expect(leftAtMs - stoppedAtMs).toBeLessThan(propagationMs());
        expect(leftAtMs).toBeLessThan(exitedAtMs);
        expect(exitedAtMs - stoppedAtMs).toBeLessThan(STOP_BUDGET_MS);
        expect(await fleet.objects.exists(leaving.name)).toBe(false);
      },
    );

    test('a restart under the same name with --lifecycle cp waits until the name is accepted', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'restart-cp' });
      const instance = await started(fleet, '--lifecycle', 'cp');
      instance.process.signal('SIGTERM');
      expect(await instance.process.exited).toMatchObject({ code: 0 });
      const startedAtMs = performance.now();
      instance.start(fleet.agent('--lifecycle', 'cp'));
      const servingAtMs = await fleet.untilServing(instance);
      tell('restart (cp): start to serving', servingAtMs - startedAtMs);
      expect(servingAtMs - startedAtMs).toBeLessThan(world.timing.deregistrationDelayMs + 5_000);
      await fleet.untilListed();
    });

    test('a restart under the same name with --lifecycle agent is quick, and the object is ready once Envoy serves', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'restart-agent' });
      const instance = await started(fleet, '--lifecycle', 'agent');
      for (let round = 1; round <= 3; round += 1) {
        instance.process.signal('SIGTERM');
        expect(await instance.process.exited).toMatchObject({ code: 0 });
        const startedAtMs = performance.now();
        instance.start(fleet.agent('--lifecycle', 'agent'));
        const servingAtMs = await fleet.untilServing(instance);
        const listedAtMs = await fleet.untilListed();
        tell(`restart ${round} (agent): start to serving`, servingAtMs - startedAtMs);
        tell(`restart ${round} (agent): start to listed`, listedAtMs - startedAtMs);
        expect(servingAtMs - startedAtMs).toBeLessThan(QUICK_MS);
      }
    });

    test('SIGUSR2 deregisters and stays, a SIGTERM later ends it', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'standby' });
      const instance = await started(fleet, '--lifecycle', 'cp');
      await fleet.objects.untilThere(instance.name);
      instance.process.signal('SIGUSR2');
      await fleet.objects.untilGone(instance.name);
      await fleet.untilListed([]);
      expect(instance.process.running).toBe(true);
      instance.process.signal('SIGTERM');
      expect(await instance.process.exited).toMatchObject({ code: 0, signal: null });
      expect(await fleet.objects.exists(instance.name)).toBe(false);
    });

    test.for(['cp', 'agent'])(
      'the agent deregisters when kuma-dp dies with --lifecycle %s, and ends the same way',
      async (lifecycle) => {
        await using fleet = await WorldFleet.create(world, { service: `crash-${lifecycle}` });
        const instance = await started(fleet, '--lifecycle', lifecycle);
        await fleet.objects.untilThere(instance.name);
        const crashedAtMs = performance.now();
        process.kill(kumaDpPid(fleet), 'SIGKILL');
        expect(await instance.process.exited).toMatchObject({ code: null, signal: 'SIGKILL' });
        const goneAtMs = await fleet.objects.untilGone(instance.name, 1_000);
        tell(`crash (${lifecycle}): object gone`, goneAtMs - crashedAtMs);
        expect(goneAtMs - crashedAtMs).toBeLessThan(3_000 + MARGIN_MS);
        await fleet.untilListed([]);
      },
    );

    test.for(['cp', 'agent'])(
      'an agent that is killed with --lifecycle %s leaves a state file, and another process finishes its work',
      async (lifecycle) => {
        await using fleet = await WorldFleet.create(world, {
          service: `killed-${lifecycle}`,
          drainTime: '1s',
        });
        const instance = await started(fleet, '--lifecycle', lifecycle);
        await fleet.objects.untilThere(instance.name);
        const kumaDp = kumaDpPid(fleet);
        instance.process.signal('SIGKILL');
        await instance.process.exited;
        await waitUntil(() => !lives(kumaDp), { what: 'kuma-dp to follow its agent', budgetMs: 30_000 });
        expect(await fleet.objects.exists(instance.name)).toBe(true);
        await using finisher = new ManagedProcess({
          command: AGENT,
          argv: ['deregister', '--state', stateFile(fleet)],
        });
        expect(await finisher.exited, finisher.stderr).toMatchObject({ code: 0 });
        expect(await fleet.objects.exists(instance.name), finisher.stderr).toBe(false);
        await fleet.untilListed([]);
      },
    );

    test('a dataplane that an operator applied drains, and its object stays', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'external', lifecycle: 'pre-applied' });
      const instance = fleet.only;
      expect((await fleet.objects.put(instance.command.resource)).status).toBe(201);
      await started(fleet);
      instance.process.signal('SIGTERM');
      expect(await instance.process.exited).toMatchObject({ code: 0 });
      expect(await fleet.objects.exists(instance.name)).toBe(true);
      expect(fleet.reports().at(-1)).toMatchObject({ lifecycle: 'external', exit: { code: 0 } });
      await fleet.objects.delete(instance.name);
    });

    test('the dataplane of an application with a service probe is ready when that answers, not before', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'probed', serviceProbe: true });
      const instance = fleet.only;
      const [application] = fleet.applications as [HttpApplication];
      const { port } = application;
      await application[Symbol.asyncDispose]();
      instance.start(fleet.agent('--lifecycle', 'agent'));
      await instance.process.waitForOutput('"dataplane.ready"', 60_000);
      await delay(propagationMs());
      expect(await fleet.peer.endpoints()).toEqual([]);
      await using late = await HttpApplication.start({ name: instance.name, port });
      await fleet.untilListed();
      expect((await fetch(`http://127.0.0.1:${fleet.peer.port}/`)).headers.get(INSTANCE_HEADER)).toBe(
        instance.name,
      );
      expect(late.port).toBe(port);
    });
  });

  // The emulator's intervals are shortened here, too short for a busy machine: test/e2e has this with Kuma's own.
  describe('under load', { concurrent: false }, () => {
    test.runIf(real)('three instances restart one after the other under load: no request fails', async () => {
      expect(await roll(world)).toEqual(UNNOTICED);
    });
  });

  describe('without health feedback, while the control plane restarts', { concurrent: false }, () => {
    let unchecked: KumaWorld;

    beforeAll(async () => {
      unchecked = await create({ healthFeedback: false });
    });

    afterAll(async () => {
      await unchecked[Symbol.asyncDispose]();
    });

    test.for([
      ['cp', 'deleted again while Envoy still serves'],
      ['agent', 'nothing puts it back'],
    ] as const)('a control plane that restarts while --lifecycle %s drains: %s', async ([lifecycle]) => {
      await using fleet = await WorldFleet.create(unchecked, { service: `confirm-${lifecycle}` });
      const instance = await started(fleet, '--lifecycle', lifecycle);
      const held = fetch(`http://${instance.command.endpoint}/hold`);
      const [application] = fleet.applications;
      await waitUntil(() => application?.active === 1, { what: 'the request to be held' });
      await fleet.objects.untilThere(instance.name);
      instance.process.signal('SIGTERM');
      await fleet.objects.untilGone(instance.name);
      await unchecked.kill();
      await unchecked.start();
      if (lifecycle === 'cp') await instance.process.waitForOutput('recreation.undone');
      application?.release();
      expect((await held).status).toBe(200);
      expect(await instance.process.exited).toMatchObject({ code: 0 });
      expect(await fleet.objects.exists(instance.name)).toBe(false);
      const steps = fleet.reports().at(-1)?.steps ?? [];
      expect(steps.find(({ step }) => step === 'confirm')?.outcome).toBe('gone');
    });

    test.runIf(real)(
      'three instances restart one after the other under load: no request fails here either',
      async () => {
        expect(await roll(unchecked)).toEqual(UNNOTICED);
      },
    );
  });
});

function stateFile(fleet: WorldFleet): string {
  return `${fleet.stateDir}/dataplane~default~${fleet.only.name}.json`;
}

/** The agent's first child. */
function kumaDpPid(fleet: WorldFleet): number {
  const [child] = childrenOf(fleet.only.process.pid);
  if (child === undefined) throw new Error('The agent has no child');
  return child;
}

async function started(fleet: WorldFleet, ...options: readonly string[]): Promise<Instance> {
  const instance = fleet.only;
  instance.start(fleet.agent(...options));
  await fleet.untilServing(instance);
  await fleet.untilListed();
  // A stop goes by the control plane's intervals only once it knows them.
  await instance.process.waitForOutput('"endpoint.reached"');
  return instance;
}
