import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { networkingOf } from '../../support/kuma/dataplane-model.ts';
import { answersHttp } from '../../support/world/running-dataplane.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { QuickWorld } from './quick-world.ts';

let world: QuickWorld;

beforeEach(async () => {
  world = await QuickWorld.start();
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

function inboundState(): string {
  const object = world.find('b1');
  const [inbound] = object === undefined ? [] : (networkingOf(object.spec).inbound ?? []);
  return inbound === undefined ? 'none' : (inbound.state ?? 'Ready');
}

async function untilState(state: string): Promise<void> {
  await waitUntil(() => inboundState() === state, { what: `the inbound to be ${state}` });
}

describe('health feedback', () => {
  test('a draining dataplane becomes NotReady while it still serves, in versions with and without an admin socket', async () => {
    for (const version of ['2.14.3', '2.10.1'] as const) {
      await world[Symbol.asyncDispose]();
      world = await QuickWorld.start({ version });
      const dataplane = await world.servingDataplane('b1');
      expect(inboundState(), version).toBe('Ready');
      dataplane.process.signal('SIGTERM');
      await untilState('NotReady');
      expect(await answersHttp(dataplane.inboundPort), version).toBe(true);
    }
  });

  test('an inbound with a service probe follows its application', async () => {
    await world.servingDataplane('b1', { serviceProbe: true });
    await untilState('Ready');
    await world.application[Symbol.asyncDispose]();
    await untilState('NotReady');
    const object = world.find('b1');
    expect(object?.spec).toMatchObject({ networking: { inbound: [{ state: 'NotReady', health: {} }] } });
  });

  test('sets an object that was put as NotReady to Ready once Envoy is healthy', async () => {
    const dataplane = await world.servingDataplane('b1');
    const resource = structuredClone(dataplane.resource) as { networking: { inbound: { state?: string }[] } };
    for (const inbound of resource.networking.inbound) inbound.state = 'NotReady';
    expect(await world.put(resource as unknown as Readonly<Record<string, unknown>>)).toBe(200);
    await untilState('Ready');
  });

  test('does not bring a deleted object back', async () => {
    const dataplane = await world.servingDataplane('b1');
    expect(world.find('b1')).toBeDefined();
    expect(await world.delete('b1')).toBe(200);
    dataplane.process.signal('SIGTERM');
    await dataplane.process.waitForOutput('waiting for connections to be drained');
    await new Promise((elapsed) => setTimeout(elapsed, 1_000));
    expect(world.find('b1')).toBeUndefined();
  });

  test('switched off, a draining dataplane stays Ready', async () => {
    await world[Symbol.asyncDispose]();
    world = await QuickWorld.start({ healthFeedback: false });
    const dataplane = await world.servingDataplane('b1', { drainTime: '1s' });
    dataplane.process.signal('SIGTERM');
    expect(await dataplane.process.exited).toMatchObject({ code: 0 });
    expect(inboundState()).toBe('Ready');
  });
});
