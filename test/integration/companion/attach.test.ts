import { randomUUID } from 'node:crypto';

import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

describe('attaching', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start({ companion: { grace: '3s' } });
  });

  afterAll(() => world[Symbol.asyncDispose]());

  test('gives an agent its epoch, the grace, and the facts that its departure depends on', async () => {
    const agent = world.agent('hears');
    const attached = await agent.attach();
    expect(attached).toEqual({
      epoch: expect.any(Number) as number,
      fenced: true,
      held: '',
      leaving: false,
      grace: { seconds: 3, nanos: 0 },
      controlPlane: {
        version: '2.14.3',
        instanceId: world.controlPlane.instanceId,
        mode: 'zone',
        propagation: { seconds: 2, nanos: 0 },
        deregistrationDelay: { seconds: 10, nanos: 0 },
        hdsDelay: expect.anything() as unknown,
      },
      takesOwner: true,
      sendsNews: true,
    });
    expect(attached.epoch).toBeGreaterThan(0);
    expect(await world.row('hears')).toMatchObject({
      incarnation: agent.incarnation.id,
      epoch: attached.epoch,
      state: 'attached',
      phase: 'starting',
    });
  });

  test('gives each incarnation of a name a higher epoch, and a returning incarnation its own', async () => {
    const incarnation = randomUUID();
    const first = world.agent('epochs', { incarnation });
    const { epoch } = await first.attach();
    const again = world.agent('epochs', { incarnation });
    expect((await again.attach()).epoch).toBe(epoch);
    expect((await world.agent('epochs').attach()).epoch).toBeGreaterThan(epoch);
  });

  test('ends the older stream of the same incarnation without a departure', async () => {
    const incarnation = randomUUID();
    const first = world.agent('twice', { incarnation });
    await first.attach();
    await world.agent('twice', { incarnation }).attach();
    await waitUntil(() => first.heard.some(({ $case }) => $case === 'redirected'), { what: 'a redirect' });
    first.vanish();
    expect(await world.row('twice')).toMatchObject({ state: 'attached', incarnation });
  });

  test('tells an incarnation that it is superseded, and it can neither attach nor deregister any more', async () => {
    const older = await world.running('superseded');
    const newer = world.agent('superseded');
    await newer.attach();
    const refusal = {
      code: status.FAILED_PRECONDITION,
      details: 'Cannot attach: a newer incarnation has this name',
    };
    expect(await older.ended).toEqual(refusal);
    await expect(older.attach()).rejects.toThrow(`FAILED_PRECONDITION: ${refusal.details}`);
    expect(await older.deregister()).toEqual({
      outcome: Outcome.REFUSED,
      guard: 'newer-epoch',
      reason: 'a newer incarnation has the name',
      durable: true,
    });
    expect(world.requests('superseded')).toBe(0);
    expect(await world.row('superseded')).toMatchObject({
      incarnation: newer.incarnation.id,
      state: 'attached',
    });
  });

  test('brings phases into the status, and the stop report into the log', async () => {
    const agent = world.agent('phases');
    await agent.attach();
    agent.phase('running', true);
    await world.waitForRow('phases', { phase: 'running' });
    agent.phase('draining');
    await world.waitForRow('phases', { phase: 'draining' });
    agent.report({ cause: 'SIGTERM', outcome: 'deleted' });
    const reported = await world.companion.waitForEvent('agent.reported');
    expect(reported).toMatchObject({
      dataplane: 'default/phases',
      report: { cause: 'SIGTERM', outcome: 'deleted' },
    });
  });

  test('ends with a loss without a leave request, and without one after it', async () => {
    const lost = world.agent('lost');
    await lost.attach();
    lost.hangUp();
    await world.waitForRow('lost', { state: 'lost' });
    const left = world.agent('left');
    await left.attach();
    expect((await left.deregister()).outcome).toBe(Outcome.ALREADY_GONE);
    left.hangUp();
    expect(await left.ended).toEqual({ code: status.OK, details: 'OK' });
    await waitUntil(() => says(world, 'agent.gone', 'left'), { what: 'the end of "left"' });
    expect(says(world, 'agent.lost', 'lost')).toBe(true);
    expect(says(world, 'agent.lost', 'left')).toBe(false);
    expect(await world.row('left')).toBeUndefined();
  });

  test('is open to an incarnation that has left and drains, and tells it that it left', async () => {
    const agent = world.agent('drains');
    const { epoch } = await agent.attach();
    await agent.deregister();
    agent.hangUp();
    await agent.ended;
    expect(await agent.attach()).toMatchObject({ epoch, leaving: true });
  });
});

describe('a companion that ends', () => {
  test.concurrent('at SIGTERM redirects its agents; they come back, without a departure', async () => {
    await using world = await CompanionWorld.start();
    const agents = await Promise.all(['web-1', 'web-2', 'web-3'].map((name) => world.running(name)));
    const before = await world.status();
    const begunMs = performance.now();
    const stopped = world.companion.stop();
    for (const agent of agents) {
      const redirected = await waitUntil(() => agent.heard.find(({ $case }) => $case === 'redirected'), {
        what: 'a redirect',
      });
      expect(redirected.value).toEqual({ reason: 'this replica is stopping' });
      agent.hangUp();
    }
    expect(await stopped).toEqual({ code: 0, signal: null });
    // The companion waits for nothing once the last agent has gone.
    expect(performance.now() - begunMs).toBeLessThan(4_000);
    await world.companion.start();
    await Promise.all(agents.map((agent) => agent.attach()));
    await untilUpFor(world, 3);
    expect(epochsOf(await world.status())).toEqual(epochsOf(before));
    expect(world.companion.seen('agent.lost')).toEqual([]);
    expect(world.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
  });

  test.concurrent('by a kill keeps the epochs of agents that come back, and deletes the object of a lost agent', async () => {
    await using world = await CompanionWorld.start();
    const [returns, stays] = await Promise.all([world.running('returns'), world.running('stays')]);
    const before = await world.status();
    await world.companion.kill();
    await Promise.all([returns.ended, stays.ended]);
    await world.companion.start();
    const { epoch } = await returns.attach();
    expect(epoch).toBe(before.dataplanes.find(({ dataplane }) => dataplane?.name === 'returns')?.epoch);
    world.disconnect('stays');
    await world.waitUntilGone('stays');
    expect(await world.row('returns')).toMatchObject({ state: 'attached', epoch });
    expect(world.find('returns')).toBeDefined();
  });
});

function says(world: CompanionWorld, event: string, name: string): boolean {
  return world.companion.seen(event).some((line) => line['dataplane'] === `default/${name}`);
}

function epochsOf({ dataplanes }: Awaited<ReturnType<CompanionWorld['status']>>): unknown {
  return dataplanes
    .map(({ dataplane, epoch, state }) => [dataplane?.name, epoch, state])
    .toSorted((a, b) => String(a[0]).localeCompare(String(b[0])));
}

/** More than the grace, and than anything that follows from it. */
async function untilUpFor(world: CompanionWorld, seconds: number): Promise<void> {
  await waitUntil(async () => ((await world.status()).up?.seconds ?? 0) >= seconds, {
    what: 'the grace to pass',
    pollMs: 100,
  });
}
