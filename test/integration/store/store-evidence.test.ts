import { describe, expect, test } from 'vitest';

import type { Introduction, AttemptResult, Silence, Store } from '../../../control-plane/ports.ts';
import { introductionOf, openStores, STORE_KINDS, tick } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const HERE = 'replica-1';
const ADDRESS = { address: '10.0.0.1' };
/** Who was refused at the Envoy of this epoch. */
const refused = (refusedEpoch: number) => ({ graceMs: 0, refusedEpoch });
const SECOND: Partial<Introduction> = { incarnation: 'second', address: '10.0.0.2', phase: 'spawned' };

describe.for(STORE_KINDS)('evidence in the %s store', (kind) => {
  let store: Store;

  openStores(kind, (opened) => {
    ({ store } = opened);
  });

  const web = introductionOf('web-1');
  const at = (epoch: number) => ({ key: web.key, epoch });
  const attach = (given: Partial<Introduction> = {}) => store.attach({ ...web, ...given }, HERE);
  const leave = (given: Partial<Introduction> = {}) =>
    store.leave({ ...web, ...given }, { replica: HERE, headStartMs: 0 });
  const detach = (epoch = 1) => store.detach(at(epoch), HERE);
  const end = (epoch: number) => store.attempt(at(epoch), () => Promise.resolve(DELETED));

  const serve = (epoch: number, serving = true) =>
    store.notePhase(at(epoch), { phase: serving ? 'running' : 'starting', serving });

  describe('a name that two incarnations want', () => {
    test('holds the second while the first serves, and tells it who has the name', async () => {
      await attach();
      await serve(1);
      const given = await attach(SECOND);
      expect(given).toMatchObject({ kind: 'held', holder: { epoch: 1, incarnation: 'first', ...ADDRESS } });
      expect(await store.find(web.key)).toMatchObject({
        epoch: 1,
        incarnation: 'first',
        lostAtMs: undefined,
      });
    });

    test.for<{ readonly name: string; readonly end: () => Promise<unknown> }>([
      { name: 'does not serve any more', end: () => serve(1, false) },
      { name: 'was lost', end: () => detach() },
      { name: 'leaves', end: () => leave() },
    ])('the second gets the name once the first one $name', async ({ end: endFirst }) => {
      await attach();
      await serve(1);
      await endFirst();
      expect(await attach(SECOND)).toMatchObject({ kind: 'attached', epoch: 2 });
    });

    test('goes to the second if the Envoy of the first refused the companion', async () => {
      await attach();
      await serve(1);
      expect(await store.attach({ ...web, ...SECOND }, HERE, refused(7))).toMatchObject({ kind: 'held' });
      expect(await store.attach({ ...web, ...SECOND }, HERE, refused(1))).toMatchObject({ epoch: 2 });
    });

    test('returns to the first when the second has left, or has been lost for long', async () => {
      await attach();
      await attach(SECOND);
      expect(await attach()).toEqual({ kind: 'superseded' });
      await leave(SECOND);
      await end(2);
      expect(await attach()).toEqual({ kind: 'attached', epoch: 3, leaving: false });
      await attach({ ...SECOND, incarnation: 'third' });
      await detach(4);
      await tick(store);
      expect(await store.attach(web, HERE, { graceMs: 60_000 })).toEqual({ kind: 'superseded' });
      expect(await store.attach(web, HERE, { graceMs: 0 })).toMatchObject({ kind: 'attached', epoch: 5 });
    });

    test('lets the first leave like any other when the second has ended', async () => {
      await attach();
      await attach(SECOND);
      await leave(SECOND);
      await end(2);
      expect(await leave()).toEqual({ kind: 'leaving', epoch: 3 });
    });
  });

  test('epochs continue above the epoch that an agent shows, as after the store went back in time', async () => {
    await attach();
    const shown = { ...introductionOf('web-2'), shownEpoch: 70 };
    expect(await store.attach(shown, HERE)).toEqual({
      kind: 'attached',
      epoch: 71,
      leaving: false,
      raised: true,
    });
    expect(await store.attach(introductionOf('web-3'), HERE)).toEqual({
      kind: 'attached',
      epoch: 72,
      leaving: false,
    });
    const absurd = { ...introductionOf('web-4'), shownEpoch: 2 ** 50 };
    expect(await store.attach(absurd, HERE)).toMatchObject({ epoch: 73 });
  });

  test('a record whose replica fell silent is unseen, until its agent is attached again', async () => {
    await store.heartbeat(HERE, 60_000);
    await attach();
    await tick(store);
    expect(
      await store.noteSilence({ self: 'asks', owedMs: 0, silentMs: 0, returnMs: () => 60_000, anew: false }),
    ).toMatchObject({
      unseen: 1,
    });
    expect(await store.find(web.key)).toMatchObject({ state: 'unseen', unseen: true });
    await attach();
    expect(await store.find(web.key)).not.toHaveProperty('unseen', true);
    await detach();
    expect(await store.find(web.key)).not.toHaveProperty('unseen', true);
  });

  const silence = (returnMs: (agents: number) => number, anew = false, more: Partial<Silence> = {}) =>
    store.noteSilence({ self: 'asks', owedMs: 0, silentMs: 0, returnMs, anew, ...more });
  const due = () => store.attempt('next due', () => Promise.resolve(DELETED));

  const miss = async (names: readonly string[], eachMs: number) => {
    await store.heartbeat(HERE, 60_000);
    for (const name of names) await store.attach(introductionOf(name), HERE);
    await tick(store);
    return silence((agents) => agents * eachMs);
  };

  describe('a record that is unseen', () => {
    test('has the time that so many agents need to return; no attempt takes it before, and nothing hastens it', async () => {
      const beganMs = await store.nowMs();
      expect(await miss(['web-1', 'web-2', 'web-3'], 1_000_000)).toMatchObject({ unseen: 3, lost: 0 });
      const record = await store.find(web.key);
      expect(record?.dueAtMs).toBeGreaterThanOrEqual(beganMs + 3_000_000);
      await store.hasten();
      expect(await due()).toBeUndefined();
      expect(await store.attempt(at(1), () => Promise.resolve(DELETED))).toBeUndefined();
      expect(await store.find(web.key)).toEqual(record);
    });

    test('is lost once its time has passed, and due then', async () => {
      await miss(['web-1'], 0);
      expect(await store.find(web.key)).toMatchObject({ state: 'unseen' });
      expect(await due()).toBeUndefined();
      expect(await silence(() => 0)).toMatchObject({ unseen: 0, lost: 1 });
      expect(await store.find(web.key)).toMatchObject({ state: 'lost', unseen: true });
      expect((await due())?.record.key.name).toBe('web-1');
    });

    test('has more time if its replica was too busy to attach it', async () => {
      await miss(['web-1'], 0);
      await tick(store);
      expect(await silence(() => 0, false, { owedMs: 3_600_000 })).toMatchObject({ lost: 0, expected: 1 });
      expect(await silence(() => 0)).toMatchObject({ lost: 1 });
    });

    test('includes one whose stream ended while its replica could not hear it', async () => {
      await attach();
      await store.detach(at(1), HERE, 3_600_000);
      expect(await store.find(web.key)).toMatchObject({ state: 'unseen', unseen: true });
      expect(await due()).toBeUndefined();
      expect(await attach()).toMatchObject({ epoch: 1 });
    });

    test('is never one of the replica that asks, however old its last heartbeat is by then', async () => {
      await store.heartbeat(HERE, 60_000);
      await attach();
      await tick(store);
      expect(await silence(() => 0, false, { self: HERE })).toMatchObject({ unseen: 0 });
      expect(await store.find(web.key)).toMatchObject({ state: 'attached' });
    });

    test('gets its time anew if no replica was up to return to', async () => {
      await miss(['web-1'], 0);
      expect(await silence(() => 3_600_000, true)).toMatchObject({ unseen: 0, lost: 0 });
      expect(await silence(() => 0)).toMatchObject({ unseen: 0, lost: 0 });
      expect(await store.find(web.key)).toMatchObject({ state: 'unseen' });
    });

    test('is expected, by its incarnation, until its agent is back, leaves or is lost', async () => {
      await miss(['web-1', 'web-2'], 3_600_000);
      await store.attach(introductionOf('attached'), 'replica-2');
      await store.leave(introductionOf('leaving'), { replica: HERE, headStartMs: 3_600_000 });
      await store.heartbeat('replica-2', 0);
      const expected = async () => {
        const { expected: count } = await store.noteSilence({
          self: 'asks',
          owedMs: 0,
          silentMs: 3_600_000,
          returnMs: () => 0,
          anew: false,
        });
        return { count, incarnations: await store.unseenIncarnations() };
      };
      expect(await expected()).toEqual({ count: 2, incarnations: ['first', 'first'] });
      await store.attach(web, 'replica-2');
      expect(await expected()).toEqual({ count: 1, incarnations: ['first'] });
      await store.leave(introductionOf('web-2'), { replica: HERE, headStartMs: 0 });
      expect(await expected()).toEqual({ count: 0, incarnations: [] });
    });

    test('leaves as an attached one does', async () => {
      await miss(['web-1'], 3_600_000);
      expect(await leave()).toEqual({ kind: 'leaving', epoch: 1 });
      expect((await due())?.record.state).toBe('leaving');
    });
  });

  test('keeps its Envoy serving when its agent returns and runs', async () => {
    const running = { phase: 'running' };
    await attach(running);
    await serve(1);
    expect(await attach(running)).toEqual({ kind: 'attached', epoch: 1, leaving: false, serving: true });
    expect(await store.find(web.key)).toMatchObject({ serving: true });
    expect(await attach({ phase: 'draining' })).toEqual({ kind: 'attached', epoch: 1, leaving: false });
    expect(await store.find(web.key)).toMatchObject({ serving: false });
    expect(await attach(running)).toEqual({ kind: 'attached', epoch: 1, leaving: false });
    expect(await store.find(web.key)).not.toHaveProperty('serving', true);
  });

  describe('bindZone()', () => {
    const NEW = { name: undefined, clusterId: undefined };

    test('binds the store to the first zone, and no other zone changes that', async () => {
      expect(await store.bindZone({ name: 'a', clusterId: 'c1' })).toEqual({ name: 'a', clusterId: 'c1' });
      expect(await store.bindZone({ name: 'b', clusterId: 'c2' })).toEqual({ name: 'a', clusterId: 'c1' });
      expect(await store.bindZone(NEW)).toEqual({ name: 'a', clusterId: 'c1' });
    });

    test('fills in unknown parts later, for the same zone only', async () => {
      expect(await store.bindZone(NEW)).toEqual(NEW);
      expect(await store.bindZone({ ...NEW, name: 'a' })).toEqual({ ...NEW, name: 'a' });
      expect(await store.bindZone({ name: 'b', clusterId: 'c2' })).toEqual({ ...NEW, name: 'a' });
      expect(await store.bindZone({ name: 'a', clusterId: 'c1' })).toEqual({ name: 'a', clusterId: 'c1' });
    });
  });

  test('noteInstances() keeps the last note of each instance, and drops old ones', async () => {
    const named = { id: 'cp-a', url: 'http://cp', standing: 'named' } as const;
    const unnamed = { id: 'cp-b', url: undefined, standing: 'unnamed' } as const;
    await store.noteInstances([named, unnamed], 0);
    await store.noteInstances([{ ...named, standing: 'ended' }], 0);
    expect(await store.instances()).toEqual([{ ...named, standing: 'ended' }, unnamed]);
    await tick(store);
    await store.noteInstances([unnamed], await store.nowMs());
    expect(await store.instances()).toEqual([unnamed]);
  });
});
