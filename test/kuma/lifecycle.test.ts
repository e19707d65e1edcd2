import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../support/kuma-worlds/object-client.ts';
import { SoloDataplane } from '../support/kuma-worlds/solo-dataplane.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';

/** For a control plane's reaction on a busy machine. */
const MARGIN_MS = 3_000;

describe.concurrent.for(kumasUnderTest)('$label: a dataplane comes and goes', ({ label, create }) => {
  let world: KumaWorld;
  let objects: ObjectClient;

  beforeAll(async () => {
    world = await create();
    objects = new ObjectClient(world.restUrl);
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  /** What does not happen is only known when it would have. */
  function pastDeregistration(): Promise<void> {
    const { deregistrationDelayMs, storeCacheMs, refreshMs } = world.timing;
    return delay(deregistrationDelayMs + storeCacheMs + refreshMs + 500);
  }

  /** How long after `sinceMs` the object went; `undefined` if it stays beyond its time. */
  async function goneAfter(name: string, sinceMs: number): Promise<number | undefined> {
    try {
      return (await objects.untilGone(name, world.timing.deregistrationDelayMs + MARGIN_MS)) - sinceMs;
    } catch {
      return undefined;
    }
  }

  describe.concurrent('while its control plane stays', () => {
    test('the control plane creates a dataplane with its resource when it connects, and deletes it after it left, if the version can', async ({
      skip,
    }) => {
      await using dataplane = await SoloDataplane.create(world, { name: 'direct' });
      expect(await objects.exists('direct')).toBe(false);
      dataplane.start();
      await dataplane.untilServing();
      await objects.untilOnline('direct');
      const { body: object } = await objects.get('direct');
      expect(object).toMatchObject({
        networking: { address: '127.0.0.1', inbound: [{ port: dataplane.command.inboundPort }] },
      });
      const overview = await objects.overview('direct');
      expect(Object.hasOwn(overview?.metadata ?? {}, 'dataplane.resource')).toBe(
        world.behaviour.showsMetadata,
      );

      const { atMs: leftAtMs } = await dataplane.crash();
      await objects.untilOffline('direct', MARGIN_MS);
      expect((await objects.overview('direct'))?.subscriptions.at(-1)?.disconnectTime).toBeTypeOf('string');
      if (!world.behaviour.deletesAfterDisconnect && !world.durable)
        skip('the leak needs a database, and there is none');
      const goneAfterMs = await goneAfter('direct', leftAtMs);
      console.info(`${label}: deleted after ${goneAfterMs?.toFixed(0) ?? '- never -'} ms`);
      expect(goneAfterMs !== undefined).toBe(world.behaviour.deletesAfterDisconnect);
      const { deregistrationDelayMs } = world.timing;
      expect(goneAfterMs ?? deregistrationDelayMs).toBeGreaterThan(deregistrationDelayMs - 500);
      await objects.delete('direct');
    });

    test('the control plane neither creates nor deletes an applied dataplane', async () => {
      const options = { name: 'applied', lifecycle: 'pre-applied' } as const;
      await using dataplane = await SoloDataplane.create(world, options);
      await objects.put(dataplane.command.resource);
      const created = await objects.overview('applied');
      dataplane.start();
      await dataplane.untilServing();
      await objects.untilOnline('applied');
      const online = await objects.overview('applied');
      expect(online?.creationTime).toBe(created?.creationTime);
      expect(Object.hasOwn(online?.metadata ?? {}, 'dataplane.resource')).toBe(false);
      await dataplane.crash();
      await objects.untilOffline('applied', MARGIN_MS);
      await pastDeregistration();
      expect(await objects.exists('applied')).toBe(true);
      await objects.delete('applied');
    });

    test('a dataplane whose object is missing waits until an operator applies it', async () => {
      const options = { name: 'awaited', lifecycle: 'pre-applied' } as const;
      await using dataplane = await SoloDataplane.create(world, options);
      dataplane.start();
      await dataplane.process.waitForOutput('not yet found');
      expect(dataplane.process.running).toBe(true);
      await objects.put(dataplane.command.resource);
      await dataplane.untilServing();
      await dataplane.crash();
      await objects.delete('awaited');
    });

    test('the control plane refuses its name until its old stream is finished, and accepts another name', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'refused' });
      await objects.untilOnline('refused');
      const { atMs: endedAtMs } = await dataplane.crash();
      dataplane.start();
      await using other = await SoloDataplane.create(world, { name: 'refused-not' });
      other.start();
      const otherServingAfterMs = (await other.untilServing()) - endedAtMs;
      const servingAfterMs = (await dataplane.untilServing()) - endedAtMs;
      console.info(`${label}: the same name served again after ${servingAfterMs.toFixed(0)} ms`);
      const { deregistrationDelayMs } = world.timing;
      expect(servingAfterMs > deregistrationDelayMs - 500).toBe(world.behaviour.refusesSameName);
      expect(otherServingAfterMs < servingAfterMs || !world.behaviour.refusesSameName).toBe(true);
      await Promise.all([dataplane.crash(), other.crash()]);
    });

    test('the control plane accepts the name of an applied dataplane at once', async () => {
      const options = { name: 'again', lifecycle: 'pre-applied' } as const;
      await using dataplane = await SoloDataplane.create(world, options);
      await objects.put(dataplane.command.resource);
      dataplane.start();
      await dataplane.untilServing();
      await objects.untilOnline('again');
      const { atMs: endedAtMs } = await dataplane.crash();
      dataplane.start();
      const servingAfterMs = (await dataplane.untilServing()) - endedAtMs;
      console.info(`${label}: an applied name served again after ${servingAfterMs.toFixed(0)} ms`);
      expect(servingAfterMs).toBeLessThan(world.timing.deregistrationDelayMs);
      await dataplane.crash();
      await objects.delete('again');
    });

    test('a dataplane that is deleted while connected stays deleted, and its listener continues to serve', async () => {
      await using dataplane = await SoloDataplane.serving(world, { name: 'deleted', drainTime: '1s' });
      await objects.untilOnline('deleted');
      expect((await objects.delete('deleted')).status).toBe(200);
      await pastDeregistration();
      expect(await objects.exists('deleted')).toBe(false);
      expect(await dataplane.answers()).toBe(true);
      expect((await dataplane.admin('/listeners')).body).toContain(`:${dataplane.command.inboundPort}`);
      dataplane.process.signal('SIGTERM');
      await dataplane.process.exited;
      await pastDeregistration();
      expect(await objects.exists('deleted')).toBe(false);
    });
  });

  describe('while its control plane goes', { concurrent: false }, () => {
    test('the next control plane creates a deleted dataplane again, but not an applied one', async () => {
      await using direct = await SoloDataplane.serving(world, { name: 'recreated' });
      await using applied = await SoloDataplane.create(world, {
        name: 'not-recreated',
        lifecycle: 'pre-applied',
      });
      await objects.put(applied.command.resource);
      applied.start();
      await applied.untilServing();
      await Promise.all([objects.untilOnline('recreated'), objects.untilOnline('not-recreated')]);
      const instanceId = await currentInstance();
      expect((await objects.overview('recreated'))?.subscriptions.at(-1)?.controlPlaneInstanceId).toBe(
        instanceId,
      );
      await objects.delete('recreated');
      await objects.delete('not-recreated');
      await world.stop();
      await world.start();
      expect(await currentInstance()).not.toBe(instanceId);
      await objects.untilThere('recreated');
      await objects.untilOnline('recreated');
      expect((await objects.overview('recreated'))?.subscriptions.at(-1)?.controlPlaneInstanceId).toBe(
        await currentInstance(),
      );
      await delay(MARGIN_MS);
      expect(await objects.exists('not-recreated')).toBe(false);
      expect(await applied.answers()).toBe(true);
      await Promise.all([direct.crash(), applied.crash()]);
    });

    test('a control plane that stops normally deregisters no dataplane, connected or just gone', async ({
      skip,
    }) => {
      if (!world.durable) skip('objects need a database to outlive their control plane, and there is none');
      await using connected = await SoloDataplane.serving(world, { name: 'connected' });
      await using gone = await SoloDataplane.serving(world, { name: 'just-gone' });
      await Promise.all([objects.untilOnline('connected'), objects.untilOnline('just-gone')]);
      await gone.crash();
      await objects.untilOffline('just-gone');
      await world.stop();
      await connected.crash();
      await world.start();
      await pastDeregistration();
      expect(await objects.exists('just-gone')).toBe(true);
      expect(await objects.exists('connected')).toBe(true);
      await objects.delete('just-gone');
      await objects.delete('connected');
    });

    test('a killed control plane leaves ghosts: they are gone, and REST shows them online', async ({
      skip,
    }) => {
      if (!world.durable) skip('objects need a database to outlive their control plane, and there is none');
      await using dataplane = await SoloDataplane.serving(world, { name: 'ghost' });
      await objects.untilOnline('ghost');
      await world.kill();
      await dataplane.crash();
      await world.start();
      await pastDeregistration();
      const last = (await objects.overview('ghost'))?.subscriptions.at(-1);
      expect(last).toMatchObject({ connectTime: expect.any(String) as string });
      expect(last?.disconnectTime).toBeUndefined();
      expect(last?.controlPlaneInstanceId).not.toBe(await currentInstance());
      await objects.delete('ghost');
    });
  });

  async function currentInstance(): Promise<string> {
    const { body } = await objects.call('/');
    return (body as { readonly instanceId: string }).instanceId;
  }
});
