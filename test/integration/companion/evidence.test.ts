import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  ConfirmResponse_Verdict as Verdict,
  DeregisterResponse_Outcome as Outcome,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { CompanionWorld, type CompanionWorldOptions } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** A loss without a request is believed after the grace and Envoy's longest backoff. */
const BELIEVED_S = 33;
const HOUR_MS = 3_600_000;

/** These wait for the same half minute, each with a companion of its own. */
describe.concurrent('what takes its time', () => {
  const worlds: CompanionWorld[] = [];
  const started = new Map<string, Promise<CompanionWorld>>();

  function world(name: 'sweeps' | 'reports' | 'old line' | 'does not heal'): Promise<CompanionWorld> {
    const known = started.get(name);
    if (known === undefined) throw new Error(`No such world: ${name}`);
    return known;
  }

  beforeAll(async () => {
    const deletes = { sweepOfflineAfter: '10m' };
    started.set('sweeps', start({ companion: deletes }));
    started.set('reports', start({ companion: { sweepOfflineAfter: 'report' } }));
    started.set('old line', start({ controlPlane: { version: '2.10.1' }, companion: deletes }));
    started.set('does not heal', start({ companion: { heal: 'off' } }));
    worlds.push(...(await Promise.all(started.values())));
  });

  afterAll(async () => {
    for (const each of worlds) {
      expect(each.companion.seen('deregistrar.failed')).toEqual([]);
      expect(each.find('bystander')).toBeDefined();
      await each[Symbol.asyncDispose]();
    }
  });

  test('a dry run, and report, say who would go, who is held back, and by what', async () => {
    const sweeping = await world('sweeps');
    const early = await sweeping.sweep(true);
    expect(guardsOf(early)).toMatchObject({ offline: 'probation', 'by-hand': 'not-lifecycle-managed' });
    const reporting = await world('reports');
    await untilUpFor(reporting, BELIEVED_S);
    expect(guardsOf(await reporting.sweep(true))).toEqual({
      offline: '',
      ours: '',
      'by-hand': 'not-lifecycle-managed',
      'only-just': 'evidence-too-young',
    });
    const { stdout } = await reporting.command('sweep', '--dry-run');
    expect(stdout).toMatch(/default\/offline +offline for 1h\S* +would be deleted +Kuma shows it offline/);
    expect(stdout).toMatch(/default\/by-hand .* held back by not-lifecycle-managed/);
    // Told to report only, it says so once.
    const reported = reporting.companion.seen('sweep.reported').map((line) => line['dataplane']);
    expect(new Set(reported)).toEqual(new Set(['default/offline', 'default/ours']));
    expect(reported).toHaveLength(2);
    expect(reporting.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
  });

  test('what Kuma shows offline for long and a machine had put is deleted, and nothing else', async () => {
    const sweeping = await world('sweeps');
    await untilUpFor(sweeping, BELIEVED_S);
    await sweeping.sweep(false);
    await sweeping.waitUntilGone('offline');
    await sweeping.waitUntilGone('ours');
    expect(await sweeping.waitForDeparture('offline')).toMatchObject({
      cause: 'sweep',
      outcome: 'deleted',
      reason: 'Kuma showed it offline, and no agent was attached',
      undoable: true,
    });
    expect(sweeping.requests('by-hand') + sweeping.requests('only-just')).toBe(0);
    expect(sweeping.requests('offline') + sweeping.requests('ours')).toBe(2);
  });

  test('the leak of 2.10.1 has no mark of a machine: it stays, unless an agent announced it', async () => {
    const old = await world('old line');
    await untilUpFor(old, BELIEVED_S);
    expect(guardsOf(await old.sweep(false))).toEqual({
      offline: 'not-lifecycle-managed',
      'by-hand': 'not-lifecycle-managed',
      'only-just': 'not-lifecycle-managed',
      ours: '',
    });
    await old.waitUntilGone('ours');
    expect(old.requests('offline')).toBe(0);
    old.put('announced');
    old.connect('announced', { endedForMs: HOUR_MS });
    expect((await old.agent('announced').deregister()).outcome).toBe(Outcome.DELETED);
  });

  test('the object of a running dataplane that is missing is put back; of one that leaves, never', async () => {
    const healing = await world('sweeps');
    const agent = await healing.running('missing');
    const leaving = await healing.running('leaving');
    const held = await healing.running('not-serving');
    held.phase('running', false);
    // It has seen the objects once.
    await untilUpFor(healing, 16);
    const before = healing.find('missing');
    await leaving.deregister();
    for (const name of ['missing', 'not-serving']) remove(healing, name);
    await waitUntil(() => healing.find('missing'), { what: 'the object', budgetMs: 60_000 });
    expect(healing.find('missing')).toMatchObject({ spec: before?.spec, labels: before?.labels });
    expect(await healing.metric('healed_total')).toBe(1);
    expect(healing.companion.seen('dataplane.healed')).toMatchObject([
      { dataplane: 'default/missing', incarnation: agent.incarnation.id },
    ]);
    expect(healing.find('leaving')).toBeUndefined();
    expect(healing.find('not-serving')).toBeUndefined();
  });

  test('an object that its control plane made again after it had left waits, then goes without its agent', async () => {
    const unswept = await world('does not heal');
    const agent = await unswept.running('made-again');
    expect((await agent.deregister()).outcome).toBe(Outcome.DELETED);
    unswept.put('made-again', {}, 0);
    unswept.connect('made-again', { connectedForMs: 0 });
    unswept.disconnect('made-again');
    // A successor may be a dataplane without an agent.
    expect((await agent.confirm()).verdict).toBe(Verdict.WAIT);
    agent.vanish();
    await unswept.waitUntilGone('made-again', 80_000);
    expect(unswept.deletions('made-again')).toBe(2);
  });

  test('with --heal off it stays missing', async () => {
    const unhealing = await world('does not heal');
    await unhealing.running('missing');
    await untilUpFor(unhealing, 16);
    remove(unhealing, 'missing');
    await untilUpFor(unhealing, BELIEVED_S);
    expect(unhealing.find('missing')).toBeUndefined();
    expect(unhealing.requests('missing', 'PUT')).toBe(0);
  });
});

/** With objects that are there from the beginning. */
async function start(options: CompanionWorldOptions): Promise<CompanionWorld> {
  await using starting = new AsyncDisposableStack();
  const world = starting.use(await CompanionWorld.create(options));
  world.run('bystander');
  world.put('offline');
  world.connect('offline', { endedForMs: HOUR_MS });
  world.put('by-hand');
  world.connect('by-hand', { direct: false, endedForMs: HOUR_MS });
  world.put('only-just');
  world.connect('only-just', { endedForMs: 5_000 });
  world.put('ours', { labels: { [INCARNATION_LABEL]: 'an-incarnation-of-it' } });
  world.connect('ours', { direct: false, endedForMs: HOUR_MS });
  await world.companion.start();
  await world.companion.waitUntilReady();
  starting.move();
  return world;
}

function guardsOf(
  candidates: Awaited<ReturnType<CompanionWorld['sweep']>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(candidates.map(({ dataplane, guard }) => [dataplane?.name, guard]));
}

/** As Kuma's own races do it. */
function remove(world: CompanionWorld, name: string): void {
  world.controlPlane.store.delete({ type: 'Dataplane', mesh: 'default', name });
}

async function untilUpFor(world: CompanionWorld, seconds: number): Promise<void> {
  await waitUntil(async () => ((await world.status()).up?.seconds ?? 0) >= seconds, {
    what: `${seconds} s to pass`,
    budgetMs: 80_000,
    pollMs: 200,
  });
}
