import { describe, expect, test } from 'vitest';

import type { AttemptResult, Fence, Store } from '../../../control-plane/ports.ts';
import { introductionOf, openStores, STORE_KINDS, type StoreWorld, tick } from './store-worlds.ts';

const DELETED: AttemptResult = { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
const HERE = 'replica-1';
const LONG_MS = 3_600_000;

async function keepBodyAndDelete(_record: unknown, fence: Fence): Promise<AttemptResult> {
  await fence.keepBody('{"name":"web-1"}');
  return DELETED;
}

describe.for(STORE_KINDS)('deletions in the %s store', (kind) => {
  let world: StoreWorld;
  let store: Store;

  openStores(kind, (opened) => {
    ({ world, store } = opened);
  });

  const web = introductionOf('web-1');
  const at = (epoch: number) => ({ key: web.key, epoch });
  const leave = (name = 'web-1', headStartMs = 0) =>
    store.leave(introductionOf(name), { replica: HERE, headStartMs });
  const namesDue = async () => {
    const names: string[] = [];
    const takeOne = () =>
      store.attempt('next due', ({ key }) => {
        names.push(key.name);
        return Promise.resolve({ kind: 'later', afterMs: LONG_MS, reason: 'not now' });
      });
    while ((await takeOne()) !== undefined);
    return names;
  };

  describe('attempt()', () => {
    test('removes a record at its end, and keeps it as a departure', async () => {
      await leave();
      const before = await store.find(web.key);
      const result: AttemptResult = {
        kind: 'ended',
        outcome: 'refused',
        guard: 'foreign-incarnation',
        reason: 'not its own',
      };
      expect(await store.attempt('next due', () => Promise.resolve(result))).toEqual({
        record: before,
        result,
      });
      expect([await store.records(), await store.departures({ limit: 10 })]).toEqual([
        [],
        [
          {
            key: web.key,
            epoch: 1,
            incarnation: 'first',
            cause: 'requested',
            outcome: 'refused',
            guard: 'foreign-incarnation',
            reason: 'not its own',
            attempts: 1,
            atMs: expect.any(Number),
            undoable: false,
          },
        ],
      ]);
    });

    test('makes a postponed departure due later, and keeps its reason', async () => {
      await leave();
      const before = await store.find(web.key);
      const beganMs = await store.nowMs();
      await store.attempt('next due', () =>
        Promise.resolve({ kind: 'later', afterMs: 60_000.5, guard: 'brake', reason: 'too many at once' }),
      );
      const after = await store.find(web.key);
      expect(after).toEqual({
        ...before,
        attempts: 1,
        guard: 'brake',
        reason: 'too many at once',
        dueAtMs: after?.dueAtMs,
      });
      expect(after?.dueAtMs).toBeGreaterThan(beganMs + 60_000);
      await store.attempt(at(1), () =>
        Promise.resolve({ kind: 'later', afterMs: 60_000, reason: 'no answer' }),
      );
      expect(await store.find(web.key)).toMatchObject({
        attempts: 2,
        guard: undefined,
        reason: 'no answer',
      });
    });

    test('takes the record that has been due for longest, and none that is not due', async () => {
      for (const name of ['b', 'a', 'c']) {
        await leave(name);
        await tick(store);
      }
      await leave('later', LONG_MS);
      await store.attach(introductionOf('attached'), HERE);
      expect(await namesDue()).toEqual(['b', 'a', 'c']);
    });

    test('takes the epoch of a name that it is asked for, due or not, unless it is attached', async () => {
      await leave('web-1', LONG_MS);
      await store.attach(introductionOf('attached'), HERE);
      const act = () => Promise.resolve(DELETED);
      expect(await store.attempt({ key: web.key, epoch: 2 }, act)).toBeUndefined();
      expect(await store.attempt({ key: introductionOf('attached').key, epoch: 2 }, act)).toBeUndefined();
      expect(await store.attempt('next due', act)).toBeUndefined();
      expect(await store.attempt(at(1), act)).toMatchObject({ result: DELETED });
    });

    test('gets the time at which it began', async () => {
      await leave();
      const beforeMs = await store.nowMs();
      let beganMs = 0;
      await store.attempt('next due', (_record, { nowMs }) => {
        beganMs = nowMs;
        return Promise.resolve(DELETED);
      });
      expect(beganMs).toBeGreaterThanOrEqual(beforeMs);
      expect(beganMs).toBeLessThanOrEqual(await store.nowMs());
    });

    test('keeps only the body when it throws', async () => {
      await leave();
      const before = await store.find(web.key);
      const failure = new Error('the control plane fell over');
      const attempt = store.attempt('next due', async (_record, fence) => {
        await fence.keepBody('{"kept":true}');
        throw failure;
      });
      await expect(attempt).rejects.toBe(failure);
      expect([await store.find(web.key), await store.departures({ limit: 1 })]).toEqual([before, []]);
      expect(await store.lastDeletedBody(web.key)).toMatchObject({ resource: '{"kept":true}' });
      expect(await store.attempt('next due', () => Promise.resolve(DELETED))).toBeDefined();
    });

    test('lets an agent that attaches meanwhile wait, and gives it the next epoch', async () => {
      await leave();
      const steps: string[] = [];
      const acting = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const attempt = store.attempt('next due', async () => {
        acting.resolve();
        await goOn.promise;
        steps.push('deleted');
        return DELETED;
      });
      await acting.promise;
      const attached = store.attach({ ...web, incarnation: 'second' }, HERE).then((attachment) => {
        steps.push('attached');
        return attachment;
      });
      await store.attach(introductionOf('another'), HERE);
      expect(steps).toEqual([]);
      goOn.resolve();
      await attempt;
      expect(await attached).toEqual({ kind: 'attached', epoch: 3, leaving: false });
      expect(steps).toEqual(['deleted', 'attached']);
      expect(await store.departures({ key: web.key, limit: 5 })).toMatchObject([{ outcome: 'deleted' }]);
    });

    test('gives a caller that waits for too long an error', async () => {
      const impatient = await world.openNew({ limits: { lockWaitMs: 50 } });
      await impatient.leave(web, { replica: HERE, headStartMs: 0 });
      await impatient.attempt('next due', async () => {
        for (const call of [
          () => impatient.attach(web, HERE),
          () => impatient.leave(web, { replica: HERE, headStartMs: 0 }),
          () => impatient.whileCurrent(at(1), () => Promise.resolve('ran')),
        ]) {
          await expect(call()).rejects.toMatchObject({ code: 'STORE_BUSY' });
        }
        return { kind: 'later', afterMs: 0, reason: 'once more' };
      });
      expect(await impatient.attach(web, HERE)).toEqual({ kind: 'attached', epoch: 1, leaving: true });
    });

    test('skips a row that another caller has locked, and does not count it as due', async () => {
      await leave('a');
      await tick(store);
      await leave('b');
      const seen: string[] = [];
      await store.attempt('next due', async (first) => {
        seen.push(first.key.name);
        const again = { key: first.key, epoch: first.epoch };
        expect(await store.attempt(again, () => Promise.resolve(DELETED))).toBeUndefined();
        await store.attempt('next due', async (second) => {
          seen.push(second.key.name);
          expect(await store.attempt('next due', () => Promise.resolve(DELETED))).toBeUndefined();
          return DELETED;
        });
        return DELETED;
      });
      expect(seen).toEqual(['a', 'b']);
    });

    test('alone() holds one name for one attempt, whatever the names', async () => {
      await leave('a');
      await leave('b');
      const steps: string[] = [];
      const inside = Promise.withResolvers<void>();
      const first = store.attempt('next due', async (_record, fence) => {
        await fence.alone('brake');
        steps.push('first in');
        inside.resolve();
        await tick(store);
        steps.push('first out');
        return DELETED;
      });
      await inside.promise;
      const second = store.attempt('next due', async (_record, fence) => {
        await fence.alone('something else');
        await fence.alone('brake');
        steps.push('second in');
        return DELETED;
      });
      expect([await first, await second]).toMatchObject([{ result: DELETED }, { result: DELETED }]);
      expect(steps).toEqual(['first in', 'first out', 'second in']);
    });

    test('a stream that ends while its departure is worked off is not mistaken for another', async () => {
      await store.attach(web, HERE);
      await store.leave(web, { replica: HERE, headStartMs: 0 });
      const acting = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const attempt = store.attempt(at(1), async () => {
        acting.resolve();
        await goOn.promise;
        return { kind: 'later', afterMs: LONG_MS, reason: 'no answer' };
      });
      await acting.promise;
      const detached = store.detach(at(1), HERE);
      goOn.resolve();
      await Promise.all([attempt, detached]);
      expect(await store.find(web.key)).toMatchObject({
        state: 'leaving',
        attempts: 1,
        replica: undefined,
        lostAtMs: expect.any(Number),
      });
    });
  });

  describe('the fence', () => {
    test('throws once its lease has passed', async () => {
      const short = await world.openNew({ limits: { leaseMs: 20 } });
      await short.leave(web, { replica: HERE, headStartMs: 0 });
      const before = await short.find(web.key);
      const attempt = short.attempt('next due', async (_record, fence) => {
        const beganMs = performance.now();
        while (performance.now() - beganMs <= 20) await tick(short);
        fence.assertHeld();
        return DELETED;
      });
      await expect(attempt).rejects.toMatchObject({ code: 'FENCE_LOST', retryable: true });
      expect(await short.find(web.key)).toEqual(before);
    });

    test('does not throw before', async () => {
      await leave();
      const attempt = store.attempt('next due', (_record, fence) => {
        fence.assertHeld();
        return Promise.resolve(DELETED);
      });
      expect(await attempt).toMatchObject({ result: DELETED });
    });
  });

  describe('whileCurrent()', () => {
    test('runs with the record while its epoch is the current one, whatever its state', async () => {
      await store.attach(web, HERE);
      const record = await store.find(web.key);
      expect(
        await store.whileCurrent(at(1), (given, fence) => {
          fence.assertHeld();
          return Promise.resolve(given);
        }),
      ).toEqual(record);
      await store.attach({ ...web, incarnation: 'second' }, HERE);
      expect(await store.whileCurrent(at(1), () => Promise.resolve('ran'))).toBeUndefined();
    });

    test('no caller attaches, leaves or deletes meanwhile, and it waits for a caller that does', async () => {
      await leave();
      const steps: string[] = [];
      const acting = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const current = store.whileCurrent(at(1), async () => {
        acting.resolve();
        await goOn.promise;
        steps.push('ran');
      });
      await acting.promise;
      expect(await store.attempt(at(1), () => Promise.resolve(DELETED))).toBeUndefined();
      const attached = store.attach({ ...web, incarnation: 'second' }, HERE).then(() => {
        steps.push('attached');
      });
      goOn.resolve();
      await Promise.all([current, attached]);
      expect(steps).toEqual(['ran', 'attached']);
    });

    test('rethrows errors', async () => {
      await store.attach(web, HERE);
      const failure = new Error('no answer');
      await expect(store.whileCurrent(at(1), () => Promise.reject(failure))).rejects.toBe(failure);
      expect(await store.whileCurrent(at(1), () => Promise.resolve('ran'))).toBe('ran');
    });
  });

  test('hasten() makes every waiting record due', async () => {
    await leave('a', LONG_MS);
    await leave('b', LONG_MS);
    await store.attach(introductionOf('attached'), HERE);
    expect(await namesDue()).toEqual([]);
    await store.hasten();
    expect(await namesDue()).toEqual(['a', 'b']);
  });

  const silence = (silentMs: number) =>
    store.noteSilence({ self: 'asks', owedMs: 0, silentMs, returnMs: () => LONG_MS, anew: false });

  describe('heartbeat() and noteSilence()', () => {
    test('keep the streams of a living replica', async () => {
      await store.attach(web, HERE);
      expect(await store.heartbeat(HERE, LONG_MS)).toMatchObject({ replicas: [HERE] });
      expect(await store.heartbeat('replica-2', LONG_MS)).toMatchObject({ replicas: [HERE, 'replica-2'] });
      expect(await silence(LONG_MS)).toMatchObject({ unseen: 0, lost: 0 });
      expect(await store.find(web.key)).toMatchObject({ state: 'attached', replica: HERE });
    });

    test('mark streams of a silent replica as lost since its last heartbeat, but not before they came', async () => {
      await store.attach(introductionOf('before'), HERE);
      await store.attach(introductionOf('leaves'), HERE);
      await store.leave(introductionOf('leaves'), { replica: HERE, headStartMs: LONG_MS });
      await store.attach(introductionOf('not-ours', { deletable: false }), HERE);
      await tick(store);
      const fromMs = await store.nowMs();
      await store.heartbeat(HERE, LONG_MS);
      const toMs = await store.nowMs();
      await tick(store);
      await store.attach(introductionOf('after'), HERE);
      await store.attach(introductionOf('elsewhere'), 'replica-2');
      await tick(store);
      expect(await store.heartbeat('replica-2', 0)).toMatchObject({ replicas: ['replica-2'] });
      await tick(store);
      const silentMs = (await store.nowMs()) - toMs;
      expect(await silence(silentMs - 1)).toMatchObject({ unseen: 2, lost: 0 });
      const found = await store.records();
      expect(found.map(({ key, state, replica }) => ({ name: key.name, state, replica }))).toEqual([
        { name: 'before', state: 'unseen', replica: undefined },
        { name: 'leaves', state: 'leaving', replica: undefined },
        { name: 'after', state: 'unseen', replica: undefined },
        { name: 'elsewhere', state: 'attached', replica: 'replica-2' },
      ]);
      const [before, leaves, after] = found;
      for (const record of [before, leaves]) {
        expect(record?.lostAtMs).toBeGreaterThanOrEqual(fromMs);
        expect(record?.lostAtMs).toBeLessThanOrEqual(toMs);
      }
      expect(after?.lostAtMs).toBeGreaterThan(toMs);
      expect(before).toMatchObject({ sinceMs: before?.lostAtMs, attempts: 0 });
      expect(await namesDue()).toEqual([]);
    });

    test('mark streams of an unknown replica as lost only now', async () => {
      await store.attach(web, 'unheard-of');
      await tick(store);
      const beforeMs = await store.nowMs();
      expect(await silence(LONG_MS)).toMatchObject({ unseen: 1, lost: 0 });
      const record = await store.find(web.key);
      expect(record).toMatchObject({ state: 'unseen', replica: undefined });
      expect(record?.lostAtMs).toBeGreaterThanOrEqual(beforeMs);
      expect(await silence(LONG_MS)).toMatchObject({ unseen: 0, lost: 0 });
    });
  });

  describe('what is kept', () => {
    test('the last body of each name, until it is forgotten', async () => {
      for (const [name, body] of [
        ['web-1', '{"version":1}'],
        ['web-2', '{"version":2}'],
        ['web-1', '{"version":3}'],
      ] as const) {
        await store.leave(introductionOf(name), { replica: HERE, headStartMs: 0, again: true });
        await store.attempt('next due', async (_record, fence) => {
          await fence.keepBody('{"version":0}');
          await fence.keepBody(body);
          return DELETED;
        });
        await tick(store);
      }
      const ofFirst = {
        key: web.key,
        epoch: 3,
        resource: '{"version":3}',
        atMs: expect.any(Number) as number,
      };
      expect(await store.lastDeletedBody(web.key)).toEqual(ofFirst);
      expect(await store.lastDeletedBody(introductionOf('web-3').key)).toBeUndefined();
      expect((await store.deletedBodies(0)).map(({ resource }) => resource)).toEqual([
        '{"version":1}',
        '{"version":2}',
        '{"version":3}',
      ]);
      const newest = (await store.lastDeletedBody(web.key))?.atMs ?? 0;
      expect(await store.deletedBodies(newest)).toEqual([ofFirst]);
      expect(await store.deletedBodies(newest + 1)).toEqual([]);
    });

    test('departures, newest first, by whatever is asked for', async () => {
      await leave('a');
      await store.attempt('next due', keepBodyAndDelete);
      await tick(store);
      const sinceMs = await store.nowMs();
      await store.attach(introductionOf('b', { incarnation: 'other' }), HERE);
      await store.detach({ key: introductionOf('b').key, epoch: 2 }, HERE);
      await store.attempt('next due', keepBodyAndDelete);
      await store.beginSweep(introductionOf('c').key);
      await store.attempt('next due', keepBodyAndDelete);
      const names = async (filter: Omit<Parameters<Store['departures']>[0], 'limit'>, limit = 10) =>
        (await store.departures({ ...filter, limit })).map(({ key }) => key.name);
      expect({
        all: await names({}),
        two: await names({}, 2),
        name: await names({ key: introductionOf('a').key }),
        incarnation: await names({ incarnation: 'other' }),
        causes: await names({ causes: ['sweep', 'requested'] }),
        none: await names({ causes: [] }),
        since: await names({ sinceMs }),
      }).toEqual({
        all: ['c', 'b', 'a'],
        two: ['c', 'b'],
        name: ['a'],
        incarnation: ['b'],
        causes: ['c', 'a'],
        none: [],
        since: ['c', 'b'],
      });
    });

    test('releases of the brake that have not ended; a new release of a mesh replaces the old one', async () => {
      const nowMs = await store.nowMs();
      const releases = [
        { mesh: '', untilMs: nowMs + LONG_MS },
        { mesh: 'default', untilMs: nowMs + 2 * LONG_MS },
      ];
      await store.releaseBrake('default', nowMs + LONG_MS);
      await store.releaseBrake('gone', nowMs - 1);
      for (const { mesh, untilMs } of releases) await store.releaseBrake(mesh, untilMs);
      expect(await store.brakeReleases()).toEqual(releases);
    });

    test('prune() drops old rows, and none that is open', async () => {
      await store.heartbeat('long-gone', LONG_MS);
      await store.heartbeat(HERE, LONG_MS);
      await store.attach(introductionOf('attached'), HERE);
      await leave('waits', LONG_MS);
      await leave('old');
      await store.attempt('next due', keepBodyAndDelete);
      await tick(store);
      const beforeMs = await store.nowMs();
      await store.releaseBrake('default', beforeMs + LONG_MS);
      await leave('new');
      await store.attempt('next due', keepBodyAndDelete);
      const waiting = await store.records();
      await store.prune(beforeMs);
      expect({
        records: await store.records(),
        departures: (await store.departures({ limit: 9 })).map(({ key }) => key.name),
        bodies: (await store.deletedBodies(0)).map(({ key }) => key.name),
        releases: (await store.brakeReleases()).length,
        replicas: (await store.heartbeat(HERE, LONG_MS)).replicas,
      }).toEqual({
        records: waiting,
        departures: ['new'],
        bodies: ['new'],
        releases: 1,
        replicas: [HERE],
      });
    });
  });

  test('a call after close() fails', async () => {
    await world.close(store);
    await store.close();
    await expect(store.attach(web, HERE)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  test('a reopened store has all writes', async () => {
    const location = await world.newLocation();
    const first = await world.open(location);
    await first.leave(web, { replica: HERE, headStartMs: LONG_MS });
    const record = await first.find(web.key);
    const nowMs = await first.nowMs();
    await world.close(first);
    const second = await world.open(location);
    expect(await second.find(web.key)).toEqual(record);
    expect(await second.nowMs()).toBeGreaterThanOrEqual(nowMs);
    expect(await second.leave(introductionOf('web-2'), { replica: HERE, headStartMs: 0 })).toEqual({
      kind: 'leaving',
      epoch: 2,
    });
  });
});
