import { expect, test } from 'vitest';

import { PhaseNotes } from '../../../../control-plane/agents/phase-notes.ts';
import { OperationalError } from '../../../../kernel/errors.ts';

type Note = readonly [name: string, phase: string];

/** A store that writes when a test says so. */
class SlowStore {
  readonly written: Note[] = [];
  readonly #underWay: (() => void)[] = [];
  failure: Error | undefined;

  notePhase({ key }: { readonly key: { readonly name: string } }, { phase }: { readonly phase: string }) {
    this.written.push([key.name, phase]);
    return new Promise<void>((resolve, reject) => {
      this.#underWay.push(() => {
        if (this.failure === undefined) resolve();
        else reject(this.failure);
      });
    });
  }

  async finishAll(): Promise<void> {
    for (const finish of this.#underWay.splice(0)) finish();
    await new Promise(setImmediate);
  }
}

function unexpected(error: unknown): never {
  throw error;
}

function at(name: string) {
  return { key: { proxyType: 'dataplane', mesh: 'default', name } as const, epoch: 1 };
}

test("while the store is busy, only an agent's last phase is written", async () => {
  const store = new SlowStore();
  const notes = new PhaseNotes(store, unexpected);
  for (let word = 0; word < 3_000; word += 1)
    notes.note(at('web-1'), { phase: `phase-${word}`, serving: true });
  expect({ written: store.written, waiting: notes.waiting }).toEqual({
    written: [['web-1', 'phase-0']],
    waiting: 1,
  });
  await store.finishAll();
  await store.finishAll();
  expect({ written: store.written, waiting: notes.waiting }).toEqual({
    written: [
      ['web-1', 'phase-0'],
      ['web-1', 'phase-2999'],
    ],
    waiting: 0,
  });
});

test('two are written at once, however many names wait', async () => {
  const store = new SlowStore();
  const notes = new PhaseNotes(store, unexpected);
  for (const name of ['a', 'b', 'c', 'd']) notes.note(at(name), { phase: 'running', serving: true });
  expect(store.written.map(([name]) => name)).toEqual(['a', 'b']);
  await store.finishAll();
  expect(store.written.map(([name]) => name)).toEqual(['a', 'b', 'c', 'd']);
});

test('an unreachable store is tried again with the next phase; a bug is reported', async () => {
  const store = new SlowStore();
  const bugs: unknown[] = [];
  const notes = new PhaseNotes(store, (bug) => bugs.push(bug));
  store.failure = new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store');
  notes.note(at('a'), { phase: 'running', serving: true });
  await store.finishAll();
  store.failure = new TypeError('a bug');
  notes.note(at('a'), { phase: 'draining', serving: false });
  await store.finishAll();
  expect(store.written).toEqual([
    ['a', 'running'],
    ['a', 'draining'],
  ]);
  expect(bugs).toEqual([store.failure]);
});
