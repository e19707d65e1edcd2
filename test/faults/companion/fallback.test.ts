import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const GRACE_MS = 2_000;
/** What may follow the grace on an idle machine; on a busy one it takes longer. */
const BOUND_MS = 40_000;

/** With sockets and processes; `test/unit/control-plane/departures/fallback.test.ts` has every case. */
describe('a lost stream', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start({ companion: { grace: '2s' } });
    // Never the last one of the service.
    await world.running('bystander');
    await waitUntil(async () => ((await world.status()).up?.seconds ?? 0) >= 2, {
      what: 'the probation to end',
    });
  });

  afterAll(async () => {
    expect(world.requests('bystander')).toBe(0);
    await world[Symbol.asyncDispose]();
  });

  test.concurrent('of an ended dataplane: the companion deletes the object after the grace, not before', async () => {
    const agent = await world.running('lost');
    const lostAtMs = performance.now();
    agent.vanish();
    world.disconnect('lost');
    await world.waitUntilGone('lost');
    expect(performance.now() - lostAtMs).toBeGreaterThan(GRACE_MS);
    expect(performance.now() - lostAtMs).toBeLessThan(GRACE_MS + BOUND_MS);
    expect(await world.waitForDeparture('lost')).toMatchObject({
      incarnation: agent.incarnation.id,
      cause: 'fallback',
      outcome: 'deleted',
      reason: 'its agent and its streams were silent for the grace',
      undoable: true,
    });
    expect(world.requests('lost')).toBe(1);
    expect(await world.row('lost')).toBeUndefined();
  });

  test.concurrent('of a connected dataplane: the object stays, and the status says why', async () => {
    const agent = await world.running('connected');
    agent.vanish();
    const { reason, epoch } = await world.waitForRow('connected', {
      state: 'lost',
      guard: 'subscription-online',
    });
    expect(reason).toBe(`connected to ${world.controlPlane.instanceId}`);
    const { stdout } = await world.command('status');
    expect(stdout).toMatch(/default\/connected +lost +for .* subscription-online +connected to /);
    expect(
      await world.metric('guard_refusals_total{guard="subscription-online",cause="fallback"}'),
    ).toBeGreaterThan(0);
    expect(world.requests('connected')).toBe(0);
    world.disconnect('connected');
    await world.waitUntilGone('connected');
    expect(await world.waitForDeparture('connected')).toMatchObject({ cause: 'fallback', epoch });
  });
});
