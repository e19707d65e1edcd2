import { describe, expect, test } from 'vitest';

import type { AttemptResult, Store } from '../../../control-plane/ports.ts';
import { introductionOf, openStores, STORE_KINDS, tick } from './store-worlds.ts';

const HERE = 'replica-1';
const REFUSED: AttemptResult = { kind: 'ended', outcome: 'refused', reason: 'not its own' };
const BRAKED: AttemptResult = { kind: 'later', afterMs: 60_000, guard: 'brake', reason: 'too many at once' };

describe.for(STORE_KINDS)('what the %s store counts without loading everything', (kind) => {
  let store: Store;

  openStores(kind, (opened) => {
    ({ store } = opened);
  });

  const leave = (name: string, mesh = 'default', again = false) =>
    store.leave(
      { ...introductionOf(name), key: { proxyType: 'dataplane', mesh, name } },
      { replica: HERE, headStartMs: 0, again },
    );
  const refuse = () => store.attempt('next due', () => Promise.resolve(REFUSED));

  test('departures: whether their object is kept, also among departures of one name', async () => {
    await leave('kept');
    await store.attempt('next due', async (_record, fence) => {
      await fence.keepBody('{"kept":true}');
      return { kind: 'ended', outcome: 'deleted', reason: 'its agent asked to leave' };
    });
    await tick(store);
    await leave('gone');
    await refuse();
    await tick(store);
    await leave('kept', 'default', true);
    await refuse();
    const known = await store.departures({ limit: 9 });
    expect(known.map(({ key, epoch, undoable }) => [key.name, epoch, undoable])).toEqual([
      ['kept', 3, false],
      ['gone', 2, false],
      ['kept', 1, true],
    ]);
  });

  test('counts(): how many records there are of each mesh, state and guard, and since when', async () => {
    expect(await store.counts()).toEqual([]);
    await store.attach(introductionOf('a'), HERE);
    await tick(store);
    await store.attach(introductionOf('b'), HERE);
    await leave('c');
    await tick(store);
    await leave('d');
    await store.attempt({ key: introductionOf('d').key, epoch: 4 }, () => Promise.resolve(BRAKED));
    await leave('e', 'other');
    const records = await store.records();
    const since = (name: string) => records.find(({ key }) => key.name === name)?.sinceMs;
    expect(await store.counts()).toEqual([
      { mesh: 'default', state: 'attached', guard: undefined, count: 2, oldestSinceMs: since('a') },
      { mesh: 'default', state: 'leaving', guard: undefined, count: 1, oldestSinceMs: since('c') },
      { mesh: 'default', state: 'leaving', guard: 'brake', count: 1, oldestSinceMs: since('d') },
      { mesh: 'other', state: 'leaving', guard: undefined, count: 1, oldestSinceMs: since('e') },
    ]);
  });
});
