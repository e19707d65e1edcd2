import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { WorldFleet } from '../support/kuma-worlds/world-fleet.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';
import { waitUntil } from '../support/world/wait-until.ts';

/** On top of the control plane's own intervals, on a busy machine. */
const MARGIN_MS = 1_500;
const ROUNDS = 5;

type Resource = Readonly<Record<string, unknown>>;

describe.concurrent.for(kumasUnderTest)('$label: what peers learn', ({ label, create, real }) => {
  describe('without health feedback', { concurrent: !real }, () => {
    let world: KumaWorld;

    beforeAll(async () => {
      world = await create({ healthFeedback: false });
    });

    afterAll(async () => {
      await world[Symbol.asyncDispose]();
    });

    test('a deleted object leaves the list after store cache and refresh interval, and a put object enters it', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'propagation' });
      const { objects, only: instance } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      const { body } = await objects.get(instance.name);
      const boundMs = world.timing.storeCacheMs + world.timing.refreshMs;
      const outMs: number[] = [];
      const inMs: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        // Rounds must not keep step with the intervals that they measure.
        await delay(Math.random() * boundMs);
        const deletedAtMs = performance.now();
        await objects.delete(instance.name);
        outMs.push((await fleet.untilListed([])) - deletedAtMs);
        const putAtMs = performance.now();
        await objects.put(body as Resource);
        inMs.push((await fleet.untilListed()) - putAtMs);
      }
      console.info(`${label}: out ${summary(outMs)}, in ${summary(inMs)}, bound ${boundMs} ms`);
      expect(Math.max(...outMs, ...inMs)).toBeLessThan(boundMs + MARGIN_MS);
      expect(await instance.answers()).toBe(true);
    });

    test('an inbound that is put NotReady leaves the list, continues to serve, and stays NotReady', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'held-back' });
      const { objects, only: instance } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      const { body } = await objects.get(instance.name);
      await objects.put(withState(body as Resource, 'NotReady'));
      await fleet.untilListed([]);
      expect(await instance.answers()).toBe(true);
      await delay(world.timing.healthReportIntervalMs + world.timing.healthCheckIntervalMs + MARGIN_MS);
      expect(stateOf((await objects.get(instance.name)).body)).toBe('NotReady');
      expect(await fleet.peer.endpoints()).toEqual([]);
      await objects.put(withState(body as Resource, 'Ready'));
      await fleet.untilListed();
    });

    test('a dataplane that is put NotReady before it starts gets its whole configuration, and no peer sees it', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'unlit', lifecycle: 'pre-applied' });
      const { objects, only: instance } = fleet;
      await objects.put(withState(instance.command.resource, 'NotReady'));
      const startedAtMs = performance.now();
      instance.start('bare');
      const servingAtMs = await fleet.untilServing(instance);
      console.info(`${label}: NotReady: start to serving ${(servingAtMs - startedAtMs).toFixed(0)} ms`);
      await delay(world.timing.storeCacheMs + world.timing.refreshMs + MARGIN_MS);
      expect(await fleet.peer.endpoints()).toEqual([]);
      await objects.put(withState(instance.command.resource, 'Ready'));
      await fleet.untilListed();
      const response = await fetch(`http://127.0.0.1:${fleet.peer.port}/`);
      expect(response.status).toBe(200);
      await objects.delete(instance.name);
    });
  });

  describe('with health feedback', { concurrent: !real }, () => {
    let world: KumaWorld;

    beforeAll(async () => {
      world = await create();
    });

    afterAll(async () => {
      await world[Symbol.asyncDispose]();
    });

    function reportMs(): number {
      const { healthCheckIntervalMs, healthReportIntervalMs } = world.timing;
      return healthCheckIntervalMs + healthReportIntervalMs;
    }

    test('a kuma-dp that drains turns NotReady by itself', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'draining' });
      const { objects, only: instance } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      const toldAtMs = performance.now();
      instance.process.signal('SIGTERM');
      await waitUntil(async () => stateOf((await objects.get(instance.name)).body) === 'NotReady', {
        what: 'the inbound to be NotReady',
        budgetMs: 30_000,
      });
      const notReadyAtMs = performance.now();
      const leftAtMs = await fleet.untilListed([]);
      const told = `NotReady ${(notReadyAtMs - toldAtMs).toFixed(0)} ms, out ${(leftAtMs - toldAtMs).toFixed(0)} ms`;
      console.info(`${label}: after SIGTERM: ${told}`);
      expect(notReadyAtMs - toldAtMs).toBeLessThan(reportMs() + MARGIN_MS);
      expect(await instance.answers()).toBe(true);
    });

    test('an inbound that is put NotReady turns Ready again when Envoy is healthy', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'flipped' });
      const { objects, only: instance } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      const { body } = await objects.get(instance.name);
      expect((await objects.put(withState(body as Resource, 'NotReady'))).status).toBe(200);
      await waitUntil(async () => stateOf((await objects.get(instance.name)).body) !== 'NotReady', {
        what: 'the inbound to be Ready',
        budgetMs: 30_000,
      });
      await fleet.untilListed();
    });

    test('a service probe keeps an inbound out of the list until its application answers', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'probed', serviceProbe: true });
      const { objects, only: instance, applications } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      await applications[0]?.[Symbol.asyncDispose]();
      await waitUntil(async () => stateOf((await objects.get(instance.name)).body) === 'NotReady', {
        what: 'the inbound to be NotReady',
        budgetMs: 30_000,
      });
      await fleet.untilListed([]);
      expect(await fleet.objects.online(instance.name)).toBe(true);
    });

    test('health reports do not bring a deleted object back', async () => {
      await using fleet = await WorldFleet.create(world, { service: 'unborn' });
      const { objects, only: instance } = fleet;
      instance.start('bare');
      await fleet.untilListed();
      await objects.delete(instance.name);
      instance.process.signal('SIGTERM');
      await delay(reportMs() + MARGIN_MS);
      expect(await objects.exists(instance.name)).toBe(false);
      expect(await instance.answers()).toBe(true);
    });
  });
});

function withState(resource: Resource, state: 'Ready' | 'NotReady'): Resource {
  const { networking } = resource as { readonly networking: { readonly inbound: readonly Resource[] } };
  return {
    ...resource,
    networking: { ...networking, inbound: networking.inbound.map((inbound) => ({ ...inbound, state })) },
  };
}

function stateOf(body: unknown): string | undefined {
  const { networking } = body as {
    readonly networking?: { readonly inbound?: readonly { readonly state?: string }[] };
  };
  return networking?.inbound?.[0]?.state;
}

function summary(samplesMs: readonly number[]): string {
  const sorted = samplesMs.toSorted((a, b) => a - b);
  const [first = 0, last = 0] = [sorted[0], sorted.at(-1)];
  return `${first.toFixed(0)} to ${last.toFixed(0)} ms`;
}
