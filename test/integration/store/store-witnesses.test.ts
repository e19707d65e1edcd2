import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Store } from '../../../control-plane/ports.ts';
import type { SideliningRecord } from '../../../control-plane/records.pure.ts';
import { introductionOf, STORE_KINDS, StoreWorld, tick } from './store-worlds.ts';

const HERE = 'replica-1';

const web = introductionOf('web-1');

const sideliningOf = (name: string, given: Partial<SideliningRecord> = {}): SideliningRecord => ({
  key: introductionOf(name).key,
  epoch: 1,
  lostAtMs: 10,
  incarnation: 'first',
  address: '10.0.0.1',
  hasNoRecord: false,
  services: ['web'],
  reason: 'no witness reaches it',
  stage: 'out',
  beganAtMs: 1,
  dueAtMs: 1,
  states: { ':80': 'Ready' },
  ...given,
});

const namesOf = (records: readonly SideliningRecord[]) => records.map(({ key }) => key.name);

const met = (place: string, witness: string, reachedAtMs: number) => ({
  place,
  subject: witness,
  witness,
  reachedAtMs,
});

describe.for(STORE_KINDS)('lost hosts in the %s store', (kind) => {
  let world: StoreWorld;
  let store: Store;

  beforeAll(async () => {
    world = await StoreWorld.start(kind);
  });

  afterAll(() => world[Symbol.asyncDispose]());

  beforeEach(async () => {
    store = await world.openNew();
  });

  afterEach(() => world.closeAll());

  const reserve = (...records: readonly SideliningRecord[]) => store.reserveSidelinings(() => records);

  test('a record keeps the address of its stream, and takes a newly known one', async () => {
    await store.attach({ ...web, peer: '10.0.0.7' }, HERE);
    expect(await store.find(web.key)).toMatchObject({ peer: '10.0.0.7' });
    await store.attach(web, HERE);
    expect(await store.find(web.key)).toMatchObject({ peer: '10.0.0.7' });
    await store.attach({ ...web, peer: '10.0.0.8' }, HERE);
    expect(await store.find(web.key)).toMatchObject({ peer: '10.0.0.8' });
  });

  test('the next decision sees reserved sidelinings, with all their fields', async () => {
    const first = sideliningOf('web-1', { unanswered: true, timeBefore: '2026-01-01T00:00:00Z' });
    expect(await reserve(first)).toEqual([first]);
    let known: readonly SideliningRecord[] = [];
    await store.reserveSidelinings((all, nowMs) => {
      known = all;
      expect(nowMs).toBeGreaterThan(1_000_000);
      return [];
    });
    expect(known).toEqual([first]);
    expect(await store.sidelining(web.key)).toEqual(first);
    expect(await store.sidelinings()).toEqual([first]);
  });

  test('of several concurrent decisions each sees the reservations of those before it', async () => {
    const counts = await Promise.all(
      Array.from({ length: 8 }, async (_, at) => {
        let count = -1;
        await store.reserveSidelinings((known) => {
          count = known.length;
          return [sideliningOf(`web-${at}`)];
        });
        return count;
      }),
    );
    expect(counts.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('a finished sidelining does not count, and frees its name', async () => {
    await reserve(sideliningOf('web-1', { stage: 'released' }));
    expect(await store.sidelining(web.key)).toBeUndefined();
    expect(await store.sidelinings()).toEqual([]);
    expect(await store.dueSidelinings(10)).toEqual([]);
    await reserve(sideliningOf('web-1', { lostAtMs: 20 }));
    expect(await store.sidelining(web.key)).toMatchObject({ lostAtMs: 20, stage: 'out' });
  });

  test('a sidelining is due when its time has come, or when it is out and an agent of its name serves', async () => {
    const later = (await store.nowMs()) + 60_000;
    await reserve(
      sideliningOf('due'),
      sideliningOf('web-1', { dueAtMs: later }),
      sideliningOf('web-2', { dueAtMs: later, stage: 'restoring' }),
      sideliningOf('web-3', { dueAtMs: later }),
    );
    expect(namesOf(await store.dueSidelinings(10))).toEqual(['due']);
    for (const name of ['web-1', 'web-2', 'web-3']) {
      const attached = await store.attach(introductionOf(name), HERE);
      const epoch = attached.kind === 'attached' ? attached.epoch : 0;
      await store.notePhase(
        { key: introductionOf(name).key, epoch },
        { phase: 'running', serving: name !== 'web-3' },
      );
    }
    expect(namesOf(await store.dueSidelinings(10)).toSorted()).toEqual(['due', 'web-1']);
    expect(await store.dueSidelinings(1)).toHaveLength(1);
  });

  describe('a name alone', () => {
    test('shows the record and the sidelining, and records the change', async () => {
      await store.attach(web, HERE);
      await reserve(sideliningOf('web-1'));
      const seen = await store.whileAlone(web.key, ({ record, sidelining, fence }) => {
        fence.assertHeld();
        const value = { epoch: record?.epoch, stage: sidelining?.stage };
        return Promise.resolve({ value, sidelining: sideliningOf('web-1', { stage: 'restoring' }) });
      });
      expect(seen).toEqual({ epoch: 1, stage: 'out' });
      expect(await store.sidelining(web.key)).toMatchObject({ stage: 'restoring' });
    });

    test('without a record has none, and an agent that attaches waits', async () => {
      const order: string[] = [];
      const begun = Promise.withResolvers<void>();
      const end = Promise.withResolvers<void>();
      const held = store.whileAlone(web.key, async ({ record }) => {
        expect(record).toBeUndefined();
        begun.resolve();
        await end.promise;
        order.push('written');
        return { value: undefined };
      });
      await begun.promise;
      const attached = store.attach(web, HERE).then(() => order.push('attached'));
      await tick(store);
      end.resolve();
      await Promise.all([held, attached]);
      expect(order).toEqual(['written', 'attached']);
    });

    test('never lets an attempt to delete and a sidelining act at the same time', async () => {
      await store.attach(web, HERE);
      await store.detach({ key: web.key, epoch: 1 }, HERE);
      let acting = 0;
      let most = 0;
      const act = async (): Promise<void> => {
        acting += 1;
        most = Math.max(most, acting);
        await tick(store);
        acting -= 1;
      };
      const attempts = Array.from({ length: 3 }, () => store.whileCurrent({ key: web.key, epoch: 1 }, act));
      const alone = Array.from({ length: 3 }, () =>
        store.whileAlone(web.key, async () => {
          await act();
          return { value: undefined };
        }),
      );
      await Promise.all([...attempts, ...alone]);
      expect(most).toBe(1);
    });

    test('keeps a sidelining from before a write, although the rest fails', async () => {
      await reserve(sideliningOf('web-1', { stage: 'outstanding' }));
      const failing = store.whileAlone(web.key, async ({ keep }) => {
        await keep(sideliningOf('web-1', { stage: 'outstanding', unanswered: true }));
        throw new Error('killed');
      });
      await expect(failing).rejects.toThrow('killed');
      expect(await store.sidelining(web.key)).toMatchObject({ stage: 'outstanding', unanswered: true });
    });
  });

  test('acquaintances are found by address, with the latest meeting of each, while they are valid', async () => {
    await store.noteAcquaintances([met('a:80', 'x', 5), met('a:80', 'y', 10), met('b:80', 'x', 10)]);
    await store.noteAcquaintances([met('a:80', 'x', 20)]);
    await store.noteAcquaintances([]);
    const found = await store.acquaintances(['a:80'], 10);
    expect(found.toSorted((a, b) => a.reachedAtMs - b.reachedAtMs)).toEqual([
      met('a:80', 'y', 10),
      met('a:80', 'x', 20),
    ]);
    expect(await store.acquaintances(['a:80', 'b:80'], 11)).toHaveLength(1);
    expect(await store.acquaintances([], 0)).toEqual([]);
    await store.prune(0);
    expect(await store.acquaintances(['a:80', 'b:80'], 0)).toEqual([]);
  });

  test('the store counts streams over all replicas, and lists lost ones with their times', async () => {
    const beforeMs = await store.nowMs();
    for (const [at, name] of ['web-1', 'web-2', 'web-3'].entries())
      await store.attach(introductionOf(name), `replica-${at}`);
    await store.detach({ key: web.key, epoch: 1 }, 'replica-0');
    const counts = await store.streamCounts(beforeMs);
    expect(counts.attached).toBe(2);
    expect(counts.lostAtMs).toHaveLength(1);
    const lost = await store.lostSince(beforeMs);
    expect(lost).toMatchObject([{ key: web.key, state: 'lost', lostAtMs: counts.lostAtMs[0] }]);
    await tick(store);
    expect(await store.lostSince(await store.nowMs())).toEqual([]);
  });
});
