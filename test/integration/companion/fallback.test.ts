import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const GRACE_MS = 2_000;
/** What may follow the grace on an idle machine; on a busy one it takes longer. */
const BOUND_MS = 15_000;

describe('a stream that is lost', () => {
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

  test.concurrent('with its dataplane: the object is deleted after the grace, not before', async () => {
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
      reason: 'its agent and its streams had been silent for the grace',
      undoable: true,
    });
    expect(world.requests('lost')).toBe(1);
    expect(await world.row('lost')).toBeUndefined();
  });

  test.concurrent('while its dataplane is connected: the object stays, and the status says why', async () => {
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

  test.concurrent('and back within the grace: nothing is deleted', async () => {
    const incarnation = randomUUID();
    const agent = await world.running('returns', { incarnation });
    world.disconnect('returns');
    agent.vanish();
    await world.waitForRow('returns', { state: 'lost' });
    const again = world.agent('returns', { incarnation });
    await again.attach();
    world.connect('returns');
    await passGrace(world);
    expect(await world.row('returns')).toMatchObject({ state: 'attached', incarnation });
    expect(world.requests('returns')).toBe(0);
  });

  test.concurrent('and replaced under its name within the grace: the successor is not touched', async () => {
    const older = await world.running('replaced');
    world.disconnect('replaced');
    older.vanish();
    const { epoch } = await world.waitForRow('replaced', { state: 'lost' });
    const newer = world.owner('replaced');
    expect((await newer.attach()).epoch).toBeGreaterThan(epoch);
    await newer.register(false);
    await passGrace(world);
    expect(world.find('replaced')?.labels).toMatchObject({ [INCARNATION_LABEL]: newer.incarnation.id });
    expect(world.requests('replaced')).toBe(0);
    expect(await world.departure('replaced')).toMatchObject({ outcome: 'superseded', guard: 'newer-epoch' });
  });

  test.concurrent('of somebody else’s object: nobody deletes it', async () => {
    world.run('applied');
    const agent = world.agent('applied', { hello: { deletable: false } });
    await agent.attach();
    agent.vanish();
    world.disconnect('applied');
    const lost = await waitUntil(
      () => world.companion.seen('agent.lost').find((line) => line['dataplane'] === 'default/applied'),
      { what: 'the loss' },
    );
    expect(lost['msg']).toMatch(/ its dataplane stays, it is not ours to delete$/);
    await passGrace(world);
    expect(await world.row('applied')).toBeUndefined();
    expect(world.find('applied')).toBeDefined();
    expect(world.requests('applied')).toBe(0);
  });

  test.concurrent('of an agent that said that its object is to stay: nobody deletes it', async () => {
    const agent = await world.running('to-stay');
    agent.report({ outcome: 'kept' }, true);
    agent.hangUp();
    await agent.ended;
    world.disconnect('to-stay');
    await passGrace(world);
    expect(await world.row('to-stay')).toBeUndefined();
    expect(world.find('to-stay')).toBeDefined();
    expect(world.requests('to-stay')).toBe(0);
  });

  test.concurrent('because nothing goes through between the two: kept while connected, and it comes back', async () => {
    await using proxy = await FaultProxy.start(`http://${world.companion.address}`);
    const agent = await world.running('partitioned', { address: `127.0.0.1:${proxy.port}` });
    const { epoch } = await world.waitForRow('partitioned', { state: 'attached' });
    await proxy.become({ kind: 'refuse' });
    await agent.ended;
    await world.waitForRow('partitioned', { state: 'lost', guard: 'subscription-online' });
    await proxy.become({ kind: 'pass' });
    expect((await agent.attach()).epoch).toBe(epoch);
    expect(await world.row('partitioned')).toMatchObject({ state: 'attached', guard: '' });
    expect(world.requests('partitioned')).toBe(0);
  });

  test.concurrent('for so long that the object was deleted: it attaches anew and puts it again', async () => {
    const agent = world.owner('cut-off');
    const { epoch } = await agent.attach();
    await agent.register(false);
    await agent.register(true);
    world.connect('cut-off');
    agent.hangUp();
    world.disconnect('cut-off');
    await world.waitUntilGone('cut-off');
    await world.waitForDeparture('cut-off', { cause: 'fallback' });
    await agent.ended;
    expect(await agent.attach()).toMatchObject({ leaving: false, epoch: expect.any(Number) as number });
    expect((await world.row('cut-off'))?.epoch).toBeGreaterThan(epoch);
    await agent.register(true);
    expect(world.find('cut-off')?.labels).toMatchObject({ [INCARNATION_LABEL]: agent.incarnation.id });
  });

  test.concurrent('before it ever served: the object that it had put goes without a stream on record', async () => {
    const agent = world.owner('stillborn');
    await agent.attach();
    await agent.register(false);
    agent.vanish();
    await world.waitUntilGone('stillborn');
    expect(await world.waitForDeparture('stillborn')).toMatchObject({
      cause: 'fallback',
      outcome: 'deleted',
    });
  });
});

test.concurrent('a host that is lost while the control plane is down: its ghost does not keep it', async () => {
  await using world = await CompanionWorld.start({ companion: { grace: '2s' } });
  const [agent, stays] = await Promise.all([world.running('ghost'), world.running('stays')]);
  await world.controlPlane.crash();
  agent.vanish();
  await world.waitForRow('ghost', { state: 'lost' });
  await passGrace(world);
  await world.controlPlane.start();
  const backAtMs = performance.now();
  // Its dataplane comes back; the other one's stream is only remembered.
  world.connect('stays');
  await world.waitUntilGone('ghost');
  expect(performance.now() - backAtMs).toBeLessThan(GRACE_MS + BOUND_MS);
  expect(await world.waitForDeparture('ghost')).toMatchObject({ cause: 'fallback', outcome: 'deleted' });
  expect(world.deletions('ghost')).toBe(1);
  expect(world.requests('stays')).toBe(0);
  stays.vanish();
  await world.waitForRow('stays', { guard: 'subscription-online' });
});

test.concurrent('a control plane that restarts, and every dataplane with it: nobody is deleted', async () => {
  await using world = await CompanionWorld.start({ companion: { grace: '2s' } });
  const names = ['web-1', 'web-2', 'web-3'];
  const agents = await Promise.all(names.map((name) => world.running(name)));
  // The network of the zone is away as well: no agent, no stream, no control plane.
  for (const agent of agents) agent.hangUp();
  await world.controlPlane.stop();
  for (const name of names) world.disconnect(name);
  await Promise.all(names.map((name) => world.waitForRow(name, { state: 'lost' })));
  await world.controlPlane.start();
  await waitUntil(() => world.companion.seen('control-plane.found').length > 1, { what: 'the new instance' });
  await Promise.all(agents.map((agent) => agent.ended.then(() => agent.attach())));
  for (const name of names) world.connect(name);
  await passGrace(world);
  expect(world.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
});

/** Twice the grace: whatever was to follow has followed. */
async function passGrace(world: CompanionWorld): Promise<void> {
  const untilMs = performance.now() + 2 * GRACE_MS;
  await waitUntil(() => performance.now() > untilMs && world.companion.running, {
    what: 'the grace to pass',
    pollMs: 100,
  });
}
