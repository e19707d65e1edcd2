import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  ConfirmResponse_Verdict as Verdict,
  DeregisterResponse_Outcome as Outcome,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const DELETED = {
  outcome: Outcome.DELETED,
  guard: '',
  reason: 'its agent said that it leaves',
  durable: true,
};

describe('deregistering', () => {
  let world: CompanionWorld;

  beforeAll(async () => {
    world = await CompanionWorld.start();
  });

  afterAll(() => world[Symbol.asyncDispose]());

  test('deletes the object once before it answers, and keeps only its body', async () => {
    const agent = await world.running('web-1');
    expect(await agent.deregister()).toEqual(DELETED);
    expect(world.find('web-1')).toBeUndefined();
    expect(world.requests('web-1')).toBe(1);
    expect(await world.row('web-1')).toBeUndefined();
    expect(await world.departure('web-1')).toMatchObject({
      incarnation: agent.incarnation.id,
      cause: 'requested',
      outcome: 'deleted',
      undoable: true,
    });
  });

  test('measures a requested departure from the request to its end', async () => {
    const before = await world.metric('deregister_seconds_count');
    const agent = await world.running('timed');
    expect(await agent.deregister()).toEqual(DELETED);
    expect((await world.metric('deregister_seconds_count')) - before).toBe(1);
    expect(await world.metric('deletions_total{cause="requested",result="deleted"}')).toBeGreaterThan(0);
    expect(await world.metric('departures_unrecorded')).toBe(0);
  });

  test('is not held back by the stream of its own kuma-dp, which still drains', async () => {
    const agent = await world.running('drains');
    world.connect('drains');
    expect(await agent.deregister()).toEqual(DELETED);
  });

  test('deletes once and answers the same when it is repeated at once', async () => {
    const agent = await world.running('again');
    const answers = await Promise.all(Array.from({ length: 6 }, () => agent.deregister()));
    expect(answers).toEqual(answers.map(() => DELETED));
    expect(await agent.deregister()).toEqual(DELETED);
    expect(world.requests('again')).toBe(1);
  });

  test('is open to an agent that never attached', async () => {
    world.run('unattached');
    world.disconnect('unattached');
    const agent = world.agent('unattached');
    expect(await agent.deregister()).toEqual(DELETED);
  });

  test('reports a missing object as gone', async () => {
    const agent = world.agent('nothing');
    await agent.attach();
    expect(await agent.deregister()).toEqual({
      outcome: Outcome.ALREADY_GONE,
      guard: '',
      reason: 'the control plane has no such object',
      durable: true,
    });
    expect(world.requests('nothing')).toBe(0);
  });

  test('refuses another incarnation’s object, with the guard and a sentence for people', async () => {
    const agent = await world.running('foreign');
    world.put('foreign', { labels: { [INCARNATION_LABEL]: 'another-run-of-it' } });
    expect(await agent.deregister()).toEqual({
      outcome: Outcome.REFUSED,
      guard: 'foreign-incarnation',
      reason: 'it carries another incarnation: another-run-of-it',
      durable: true,
    });
    expect(world.find('foreign')).toBeDefined();
    expect(world.requests('foreign')).toBe(0);
    expect(await world.row('foreign')).toBeUndefined();
  });

  test('continues the deletion when the call is cancelled', async () => {
    const agent = await world.running('cancelled');
    world.fault({ method: 'DELETE', path: 'dataplanes/cancelled$', times: 1, action: { kind: 'hang' } });
    const cancel = new AbortController();
    const asked = agent.deregister({ signal: cancel.signal });
    await waitUntil(() => world.requests('cancelled') > 0, { what: 'the DELETE' });
    cancel.abort();
    await expect(asked).rejects.toThrow(/^CANCELLED/);
    await world.waitUntilGone('cancelled');
    expect(world.deletions('cancelled')).toBe(1);
  });

  test('continues the deletion when the connection breaks: it needs neither the call nor the stream', async () => {
    await using proxy = await FaultProxy.start(`http://${world.companion.address}`);
    const agent = await world.running('broken', { address: `127.0.0.1:${proxy.port}` });
    world.fault({ method: 'DELETE', path: 'dataplanes/broken$', times: 1, action: { kind: 'hang' } });
    const asked = agent.deregister();
    await waitUntil(() => world.requests('broken') > 0, { what: 'the DELETE' });
    await proxy.become({ kind: 'refuse' });
    await expect(asked).rejects.toThrow(/^UNAVAILABLE/);
    await world.waitUntilGone('broken');
    await world.waitForDeparture('broken', { cause: 'requested', outcome: 'deleted' });
    expect(world.deletions('broken')).toBe(1);
  });

  test('repeats a request whose answer from the control plane was lost', async () => {
    const agent = await world.running('reset');
    world.fault({ method: 'DELETE', path: 'dataplanes/reset$', times: 1, action: { kind: 'reset-after' } });
    const { outcome } = await agent.deregister();
    expect([Outcome.ALREADY_GONE, Outcome.DELETED]).toContain(outcome);
    expect(world.deletions('reset')).toBe(1);
  });

  describe('confirming', () => {
    test('reports an object that stayed away as gone', async () => {
      const agent = await world.running('stayed-away');
      await agent.deregister();
      expect(await agent.confirm()).toEqual({ verdict: Verdict.GONE, reason: '' });
    });

    test('deletes an object with its own label again, once its stream has ended', async () => {
      const agent = await world.running('re-created');
      await agent.deregister();
      world.run('re-created', { labels: { [INCARNATION_LABEL]: agent.incarnation.id } });
      expect(await agent.confirm()).toEqual({ verdict: Verdict.WAIT, reason: 'a subscription is online' });
      world.disconnect('re-created');
      expect(await agent.confirm()).toMatchObject({ verdict: Verdict.DELETED });
      expect(world.find('re-created')).toBeUndefined();
      expect(world.deletions('re-created')).toBe(2);
    });

    test('leaves a successor’s object alone', async () => {
      const agent = await world.running('succeeded');
      await agent.deregister();
      await world.running('succeeded');
      world.disconnect('succeeded');
      expect(await agent.confirm()).toEqual({
        verdict: Verdict.LEAVE,
        reason: 'a newer incarnation has the name',
      });
      expect(world.find('succeeded')).toBeDefined();
    });
  });
});

describe('a departure that was accepted', () => {
  test('is finished although the companion is killed while the control plane is down', async () => {
    await using world = await CompanionWorld.start();
    // Their objects carry their label, so once agent and companion are gone no other run's stream can be meant.
    const agents = await Promise.all(
      ['web-1', 'web-2', 'web-3'].map(async (name) => {
        const agent = world.owner(name);
        await agent.attach();
        await agent.register(true);
        return agent;
      }),
    );
    const stays = await world.running('stays');
    await world.controlPlane.refuseConnections(['http']);
    const answers = await Promise.all(agents.map((agent) => agent.deregister({ budgetMs: 700 })));
    for (const answer of answers) {
      expect(answer).toMatchObject({ outcome: Outcome.ACCEPTED, durable: true });
      expect(answer.reason).toMatch(/^Cannot /);
    }
    await world.companion.kill();
    await world.companion.start();
    const reattached = stays.attach();
    await world.controlPlane.acceptConnections(['http']);
    for (const name of ['web-1', 'web-2', 'web-3']) {
      await world.waitUntilGone(name);
      await world.waitForDeparture(name, { cause: 'requested', outcome: 'deleted', undoable: true });
      expect(world.deletions(name)).toBe(1);
    }
    await reattached;
    expect(world.find('stays')).toBeDefined();
    expect(world.requests('stays')).toBe(0);
  });
});
