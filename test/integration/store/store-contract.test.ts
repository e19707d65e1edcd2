import { describe, expect, test } from 'vitest';

import type { DataplaneRecord } from '../../../control-plane/records.pure.ts';
import type { Introduction, AttemptResult, LeaveOptions, Store } from '../../../control-plane/ports.ts';
import { introductionOf, openStores, STORE_KINDS, tick } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const HERE = 'replica-1';
const SECOND: Partial<Introduction> = { incarnation: 'second', address: '10.0.0.2', phase: 'spawned' };

describe.for(STORE_KINDS)('the %s store', (kind) => {
  let store: Store;

  openStores(kind, (opened) => {
    ({ store } = opened);
  });

  const web = introductionOf('web-1');
  const at = (epoch: number) => ({ key: web.key, epoch });
  const attach = (given: Partial<Introduction> = {}, replica = HERE) =>
    store.attach({ ...web, ...given }, replica);
  const leave = (given: Partial<Introduction> = {}, more: Partial<LeaveOptions> = {}) =>
    store.leave({ ...web, ...given }, { replica: HERE, headStartMs: 0, ...more });
  const reattach = (replica = HERE, given: Partial<Introduction> = {}) =>
    store.reattach({ ...web, ...given }, replica);
  const detach = (epoch = 1, replica = HERE) => store.detach(at(epoch), replica);
  const end = (epoch: number, result: AttemptResult = DELETED) =>
    store.attempt(at(epoch), () => Promise.resolve(result));
  /** The store's records of the name, without times. */
  const outline = async () => {
    const record = await store.find(web.key);
    if (record === undefined) return undefined;
    const { epoch, incarnation, state, replica, lostAtMs, dueAtMs } = record;
    return { epoch, incarnation, state, replica, open: lostAtMs === undefined, due: dueAtMs !== undefined };
  };
  const outcomes = async () => {
    const found = await store.departures({ key: web.key, limit: 10 });
    return found.map(({ epoch, incarnation, cause, outcome, guard, attempts }) => ({
      epoch,
      incarnation,
      cause,
      outcome,
      guard,
      attempts,
    }));
  };
  const SUPERSEDED = { outcome: 'superseded', guard: 'newer-epoch', attempts: 0 };

  describe('attach()', () => {
    test('gives a new incarnation an epoch, and keeps everything that it brings', async () => {
      expect(await attach()).toEqual({ kind: 'attached', epoch: 1, leaving: false });
      const record = await store.find(web.key);
      expect(record).toEqual({
        ...web,
        epoch: 1,
        state: 'attached',
        sinceMs: expect.any(Number),
        lostAtMs: undefined,
        replica: HERE,
        dueAtMs: undefined,
        attempts: 0,
        guard: undefined,
        reason: undefined,
        serving: false,
      } satisfies DataplaneRecord);
      const { resource, ...common } = record ?? {};
      expect(await store.records()).toEqual([{ ...common, resourceHead: resource }]);
    });

    test('distinguishes names by type and mesh', async () => {
      const { name } = web.key;
      const others = [
        { proxyType: 'ingress', mesh: '', name },
        { proxyType: 'egress', mesh: '', name },
        { proxyType: 'dataplane', mesh: 'other', name },
      ] as const;
      await attach();
      for (const key of others) await attach({ key });
      expect((await store.records()).map(({ key, epoch }) => ({ key, epoch }))).toEqual(
        [web.key, ...others].map((key, before) => ({ key, epoch: before + 1 })),
      );
    });

    test('keeps the epoch of an incarnation that attaches again, elsewhere, and takes over what it brings', async () => {
      await attach();
      const before = await store.find(web.key);
      await tick(store);
      const changes = { address: '10.0.0.9', resource: undefined, phase: 'serving', deletable: false };
      expect(await attach(changes, 'replica-2')).toEqual({ kind: 'attached', epoch: 1, leaving: false });
      expect(await store.find(web.key)).toEqual({
        ...before,
        ...changes,
        resource: web.resource,
        replica: 'replica-2',
      });
    });

    test('attaches a lost incarnation that comes back as before', async () => {
      await attach();
      const before = await store.find(web.key);
      await detach();
      await end(1, { kind: 'later', afterMs: 0, guard: 'evidence-too-young', reason: 'not yet' });
      await tick(store);
      expect(await attach()).toEqual({ kind: 'attached', epoch: 1, leaving: false });
      const after = await store.find(web.key);
      expect(after).toEqual({ ...before, sinceMs: after?.sinceMs });
      expect(after?.sinceMs).toBeGreaterThan(before?.sinceMs ?? 0);
      expect(await outcomes()).toEqual([]);
    });

    test('keeps a leaving incarnation leaving when its stream comes back', async () => {
      await attach();
      await leave({}, { headStartMs: 5 });
      const before = await store.find(web.key);
      await detach();
      expect(await attach({}, 'replica-2')).toEqual({ kind: 'attached', epoch: 1, leaving: true });
      expect(await store.find(web.key)).toEqual({ ...before, replica: 'replica-2' });
    });

    test.for<{ readonly was: string; readonly prepare: () => Promise<unknown>; readonly cause: string }>([
      { was: 'attached', prepare: () => attach(), cause: 'fallback' },
      { was: 'lost', prepare: () => attach().then(() => detach()), cause: 'fallback' },
      { was: 'leaving', prepare: () => leave(), cause: 'requested' },
    ])('a new incarnation supersedes one that is $was, for good', async ({ prepare, cause }) => {
      await prepare();
      expect(await attach(SECOND)).toEqual({ kind: 'attached', epoch: 2, leaving: false });
      expect(await outline()).toEqual({
        epoch: 2,
        incarnation: 'second',
        state: 'attached',
        replica: HERE,
        open: true,
        due: false,
      });
      const departed = [{ epoch: 1, incarnation: 'first', cause, ...SUPERSEDED }];
      expect(await outcomes()).toEqual(departed);
      expect([await attach(), await leave(), await leave({}, { again: true })]).toEqual([
        { kind: 'superseded' },
        { kind: 'superseded' },
        { kind: 'superseded' },
      ]);
      expect([await outline(), await outcomes()]).toEqual([
        expect.objectContaining({ epoch: 2, state: 'attached' }),
        departed,
      ]);
    });

    test('lets an agent supersede a sweep', async () => {
      await store.beginSweep(web.key);
      expect(await attach()).toEqual({ kind: 'attached', epoch: 2, leaving: false });
      expect(await outcomes()).toEqual([{ epoch: 1, incarnation: '', cause: 'sweep', ...SUPERSEDED }]);
    });

    test.for(['deleted', 'already gone', 'refused'] as const)(
      'leaves nothing to do for an agent that still drains after its departure ended as %s',
      async (outcome) => {
        await attach();
        await leave();
        await end(1, { kind: 'ended', outcome, reason: 'so it was' });
        expect(await attach()).toEqual({ kind: 'attached', epoch: 1, leaving: true });
        expect(await store.records()).toEqual([]);
        await attach(SECOND);
        expect(await attach()).toEqual({ kind: 'superseded' });
      },
    );

    test('never takes a caller without an incarnation for a known one', async () => {
      await store.beginSweep(web.key);
      expect([await attach({ incarnation: '' }), await attach({ incarnation: '' })]).toEqual([
        { kind: 'attached', epoch: 2, leaving: false },
        { kind: 'attached', epoch: 3, leaving: false },
      ]);
    });

    test('never gives an epoch twice, whatever happened to its row', async () => {
      const epochs: number[] = [];
      for (const incarnation of ['a', 'b', 'c']) {
        const left = await leave({ incarnation });
        if (left.kind !== 'leaving') throw new Error(left.kind);
        epochs.push(left.epoch);
        await end(left.epoch);
        await store.prune((await store.nowMs()) + 1_000);
      }
      expect({ epochs, departures: await outcomes() }).toEqual({ epochs: [1, 2, 3], departures: [] });
    });
  });

  describe('reattach()', () => {
    test('takes back a record that no other incarnation has taken', async () => {
      await attach();
      await detach();
      expect(await reattach()).toEqual({ kind: 'attached', epoch: 1, leaving: false });
      expect(await outline()).toMatchObject({ state: 'attached', replica: HERE, open: true, due: false });
      expect(await reattach()).toEqual({ kind: 'attached', epoch: 1, leaving: false });
    });

    test('leaves a record to the replica that its agent has found since', async () => {
      await attach({}, 'replica-2');
      expect(await reattach()).toEqual({ kind: 'elsewhere' });
      expect(await outline()).toMatchObject({ replica: 'replica-2' });
    });

    test('attaches an unknown incarnation, and no superseded one', async () => {
      expect(await reattach()).toEqual({ kind: 'attached', epoch: 1, leaving: false });
      await attach(SECOND, 'replica-2');
      expect(await reattach()).toEqual({ kind: 'superseded' });
      expect(await reattach(HERE, { incarnation: 'third' })).toEqual({
        kind: 'attached',
        epoch: 3,
        leaving: false,
      });
    });
  });

  describe('detach()', () => {
    test('marks a record as lost from then on, and due at once', async () => {
      await attach();
      const before = await store.find(web.key);
      await tick(store);
      await detach();
      const after = await store.find(web.key);
      const lostAtMs = after?.lostAtMs ?? 0;
      expect(after).toEqual({
        ...before,
        state: 'lost',
        sinceMs: lostAtMs,
        lostAtMs,
        dueAtMs: lostAtMs,
        replica: undefined,
      });
      expect(lostAtMs).toBeGreaterThan(before?.sinceMs ?? 0);
    });

    test('keeps a leaving record leaving, without a stream', async () => {
      await attach();
      await leave({}, { headStartMs: 60_000 });
      const before = await store.find(web.key);
      await detach();
      const after = await store.find(web.key);
      expect(after).toEqual({ ...before, lostAtMs: expect.any(Number), replica: undefined });
    });

    test('drops a record that the companion would not delete', async () => {
      await attach({ deletable: false });
      await detach();
      expect([await store.records(), await outcomes()]).toEqual([[], []]);
    });

    test('does nothing to a record of a newer epoch', async () => {
      await attach();
      await detach(1, 'replica-2');
      expect(await outline()).toMatchObject({ epoch: 1, state: 'attached', open: true });
      await attach(SECOND);
      await detach(1);
      expect(await outline()).toMatchObject({ epoch: 2, state: 'attached', open: true });
    });
  });

  test('notePhase() notes it for the current epoch only', async () => {
    await attach();
    await store.notePhase(at(1), { phase: 'running', serving: true });
    await store.notePhase(at(2), { phase: 'draining', serving: false });
    expect(await store.find(web.key)).toMatchObject({ phase: 'running', serving: true, state: 'attached' });
  });

  describe('leave()', () => {
    test('makes an attached incarnation leaving, due after the head start, with its stream', async () => {
      await attach();
      const before = await store.find(web.key);
      await tick(store);
      expect(await leave({ phase: 'deregistering' }, { headStartMs: 700 })).toEqual({
        kind: 'leaving',
        epoch: 1,
      });
      const after = await store.find(web.key);
      const sinceMs = after?.sinceMs ?? 0;
      expect(after).toEqual({
        ...before,
        state: 'leaving',
        phase: 'deregistering',
        sinceMs,
        dueAtMs: sinceMs + 700,
      });
      expect(sinceMs).toBeGreaterThan(before?.sinceMs ?? 0);
    });

    test('changes nothing at a second request', async () => {
      await attach();
      await leave({}, { headStartMs: 60_000 });
      const before = await store.find(web.key);
      await tick(store);
      expect(await leave()).toEqual({ kind: 'leaving', epoch: 1 });
      expect(await store.find(web.key)).toEqual(before);
    });

    test('makes a lost incarnation leaving, and keeps the time of its loss', async () => {
      await attach();
      await detach();
      const lost = await store.find(web.key);
      await tick(store);
      expect(await leave()).toEqual({ kind: 'leaving', epoch: 1 });
      const left = await store.find(web.key);
      expect(left).toMatchObject({ state: 'leaving', lostAtMs: lost?.lostAtMs, replica: undefined });
      expect(left?.sinceMs).toBeGreaterThan(lost?.sinceMs ?? 0);
    });

    test('gives an unknown incarnation a record at once, without a stream', async () => {
      expect(await leave({}, { headStartMs: 250 })).toEqual({ kind: 'leaving', epoch: 1 });
      const record = await store.find(web.key);
      const sinceMs = record?.sinceMs ?? 0;
      expect(record).toEqual({
        ...web,
        epoch: 1,
        state: 'leaving',
        sinceMs,
        lostAtMs: sinceMs,
        replica: undefined,
        dueAtMs: sinceMs + 250,
        attempts: 0,
        guard: undefined,
        reason: undefined,
        serving: false,
      });
    });

    test('dates a request that could not be recorded at once by its arrival, whether its incarnation was seen before or not', async () => {
      const agoMs = 600_000;
      const other = introductionOf('web-2');
      await store.attach(other, HERE);
      await leave({}, { agoMs });
      await store.leave(other, { replica: HERE, headStartMs: 0, agoMs });
      const nowMs = await store.nowMs();
      for (const { key } of [web, other])
        expect(nowMs - ((await store.find(key))?.sinceMs ?? 0)).toBeGreaterThanOrEqual(agoMs);
    });

    test('returns the outcome to an incarnation that has departed; if its object was created again, it leaves again', async () => {
      await leave();
      await end(1, { kind: 'ended', outcome: 'refused', guard: 'not-lifecycle-managed', reason: 'by hand' });
      const known = await store.departures({ key: web.key, limit: 1 });
      const [departure] = known.map(({ undoable: _undoable, ...each }) => each);
      expect(await leave()).toEqual({ kind: 'departed', departure });
      expect(await store.records()).toEqual([]);
      expect(await leave({}, { again: true })).toEqual({ kind: 'leaving', epoch: 2 });
      expect(await leave({}, { again: true })).toEqual({ kind: 'leaving', epoch: 2 });
      await end(2);
      expect((await outcomes()).map(({ epoch, outcome }) => ({ epoch, outcome }))).toEqual([
        { epoch: 2, outcome: 'deleted' },
        { epoch: 1, outcome: 'refused' },
      ]);
      expect(await leave()).toMatchObject({ kind: 'departed', departure: { epoch: 2, outcome: 'deleted' } });
    });

    test('does not let a departed incarnation leave again under a successor', async () => {
      await leave();
      await end(1);
      await attach(SECOND);
      await detach(2);
      expect(await leave({}, { again: true })).toEqual({ kind: 'superseded' });
      expect(await outline()).toMatchObject({ epoch: 2, state: 'lost' });
    });

    test('never takes the name from an attached incarnation', async () => {
      await attach(SECOND);
      expect(await leave()).toEqual({ kind: 'superseded' });
      await leave(SECOND);
      expect(await leave()).toEqual({ kind: 'superseded' });
      expect(await outline()).toMatchObject({
        epoch: 1,
        incarnation: 'second',
        state: 'leaving',
        open: true,
      });
    });

    test('takes the name from an incarnation that has asked to leave and is gone', async () => {
      await attach(SECOND);
      await leave(SECOND);
      await detach(1);
      expect(await leave()).toEqual({ kind: 'leaving', epoch: 2 });
      expect(await outcomes()).toEqual([
        { epoch: 1, incarnation: 'second', cause: 'requested', ...SUPERSEDED },
      ]);
    });

    test('never takes the name from a lost incarnation, which may return', async () => {
      await attach(SECOND);
      await detach(1);
      const lost = await store.find(web.key);
      expect(await leave()).toEqual({ kind: 'contested' });
      expect([await store.find(web.key), await outcomes()]).toEqual([lost, []]);
    });

    test.for<{ readonly name: string; readonly prepare: () => Promise<unknown>; readonly ends: object }>([
      { name: 'the name is unknown', prepare: () => Promise.resolve(), ends: { kind: 'leaving', epoch: 1 } },
      { name: 'an agent is attached', prepare: () => attach(), ends: { kind: 'superseded' } },
      {
        name: 'its agent was lost',
        prepare: () => attach().then(() => detach()),
        ends: { kind: 'leaving', epoch: 1 },
      },
      { name: 'it leaves', prepare: () => leave(), ends: { kind: 'leaving', epoch: 1 } },
      {
        name: 'a sweep has it',
        prepare: () => store.beginSweep(web.key),
        ends: { kind: 'leaving', epoch: 1 },
      },
      {
        name: 'it has departed',
        prepare: () => leave().then(() => end(1)),
        ends: { kind: 'leaving', epoch: 2 },
      },
    ])('an operator, who has no incarnation, when $name', async ({ prepare, ends }) => {
      await prepare();
      expect(await leave({ incarnation: '' })).toEqual(ends);
    });

    test('keeps an agent’s own facts when an operator asks', async () => {
      await attach();
      await detach();
      const before = await store.find(web.key);
      await leave({ incarnation: '', owner: 'external', deletable: false, address: 'elsewhere', phase: '' });
      const { sinceMs, dueAtMs } = (await store.find(web.key)) ?? {};
      expect(await store.find(web.key)).toEqual({ ...before, state: 'leaving', sinceMs, dueAtMs });
    });
  });

  describe('beginSweep()', () => {
    test('makes a record that is due, unless the name has one', async () => {
      expect(await store.beginSweep(web.key)).toBe(true);
      expect(await outline()).toEqual({
        epoch: 1,
        incarnation: '',
        state: 'swept',
        replica: undefined,
        open: false,
        due: true,
      });
      expect(await store.beginSweep(web.key)).toBe(false);
      await attach();
      expect(await store.beginSweep(web.key)).toBe(false);
    });
  });
});
