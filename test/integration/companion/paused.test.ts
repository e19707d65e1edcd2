import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { DeregisterResponse_Outcome as Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** Longer than a busy moment, and than the callers below wait. */
const PAUSE_MS = 3_500;

describe('a companion that was paused', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start();
  });

  afterAll(() => world[Symbol.asyncDispose]());

  /** It stands still while `during` happens, and for as long as a caller waits at most. */
  async function stopped(during: () => Promise<unknown>): Promise<void> {
    await world.companion.pause();
    await Promise.all([during(), delay(PAUSE_MS)]).finally(() => {
      world.companion.continue();
    });
  }

  /** A companion that wakes has handled everything that it read once it has handled later requests. */
  async function waitUntilCaughtUp(name: string): Promise<void> {
    const probe = await world.running(name);
    const leave = (): Promise<Outcome> => probe.deregister().then(({ outcome }) => outcome);
    await waitUntil(async () => (await leave().catch(() => undefined)) !== undefined, {
      what: 'the probe to leave',
    });
  }

  test('deletes nothing for a caller that gave up meanwhile and whose successor serves', async () => {
    const agent = await world.running('given-up');
    await stopped(async () => {
      await expect(agent.deregister({ budgetMs: 1_000 })).rejects.toThrow(/^DEADLINE_EXCEEDED/);
      agent.vanish();
      world.put('given-up', {}, 0);
      world.connect('given-up', { connectedForMs: 0 });
    });
    await waitUntilCaughtUp('after-given-up');
    expect(world.find('given-up')).toBeDefined();
    expect(world.requests('given-up')).toBe(0);
  });

  test('puts nothing for a caller that gave up meanwhile', async () => {
    const agent = world.owner('not-put');
    await agent.attach();
    await stopped(async () => {
      await expect(agent.register(false, undefined, 1_000)).rejects.toThrow(/^DEADLINE_EXCEEDED/);
    });
    await waitUntilCaughtUp('after-not-put');
    expect(world.requests('not-put', 'PUT')).toBe(0);
  });

  test('serves a caller that still waits', async () => {
    const agent = await world.running('waits');
    let asked: Promise<{ readonly outcome: Outcome }> | undefined;
    await stopped(async () => {
      asked = agent.deregister({ budgetMs: 30_000 });
    });
    expect(await asked).toMatchObject({ outcome: Outcome.DELETED });
  });
});
