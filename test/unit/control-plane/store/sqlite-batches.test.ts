import Database from 'better-sqlite3';
import { Kysely, sql, SqliteDialect } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Schema } from '../../../../control-plane/store/schema.ts';
import { SqliteBatches } from '../../../../control-plane/store/sqlite-batches.ts';

interface Sync {
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('when the caller of a SQLite batch is answered', () => {
  let sqlite: Database.Database;
  let batches: SqliteBatches;
  let syncs: Sync[];
  /** In the order in which they were answered. */
  let answered: string[];

  beforeEach(() => {
    sqlite = new Database(':memory:');
    sqlite.exec(`create table counters (name text, value integer); create table words (word text)`);
    syncs = [];
    answered = [];
    batches = new SqliteBatches({
      sqlite,
      db: new Kysely<Schema>({ dialect: new SqliteDialect({ database: sqlite }) }),
      path: 'test',
      nowMs: () => 0,
      sync: () =>
        new Promise<void>((done, fail) => {
          syncs.push({ done, fail });
        }),
    });
  });

  afterEach(() => {
    sqlite.close();
  });

  const note = (word: string, work: Promise<unknown>): void => {
    void work.then(
      () => answered.push(word),
      (error: unknown) => answered.push(`${word}: ${String(error)}`),
    );
  };
  const write = (word: string): void => {
    note(
      word,
      batches.run(({ db }) => sql`insert into words values (${word})`.execute(db)),
    );
  };
  const read = (word: string): void => {
    note(
      word,
      batches.run(({ db }) => sql`select word from words`.execute(db)),
    );
  };
  const words = (): unknown => sqlite.prepare('select count(*) from words').pluck().get();

  test('a write: when the disk has it', async () => {
    write('a');
    await turns();
    expect({ answered, words: words(), syncs: syncs.length }).toEqual({ answered: [], words: 1, syncs: 1 });
    syncs[0]?.done();
    await turns();
    expect(answered).toEqual(['a']);
  });

  test('a read that no write goes before: at once, without a sync', async () => {
    read('r');
    await turns();
    expect({ answered, syncs: syncs.length }).toEqual({ answered: ['r'], syncs: 0 });
  });

  test('a read of what the disk does not have yet: after the sync that brings it there', async () => {
    write('a');
    await turns();
    read('r');
    await turns();
    expect(answered).toEqual([]);
    syncs[0]?.done();
    await turns();
    expect(answered).toEqual(['a']);
    syncs[1]?.done();
    await turns();
    expect(answered).toEqual(['a', 'r']);
  });

  test('what is committed during a sync goes on, and shares the next one', async () => {
    write('a');
    await turns();
    for (const word of ['b', 'c', 'd']) {
      write(word);
      await turns();
    }
    expect({ words: words(), syncs: syncs.length }).toEqual({ words: 4, syncs: 1 });
    syncs[0]?.done();
    await turns();
    expect({ answered, syncs: syncs.length }).toEqual({ answered: ['a'], syncs: 2 });
    syncs[1]?.done();
    await turns();
    expect(answered).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a disk that fails: with an error, and the next batch tries again', async () => {
    write('a');
    await turns();
    syncs[0]?.fail(new Error('EIO'));
    await turns();
    expect(answered).toEqual([expect.stringMatching(/^a: OperationalError: Cannot write the store test/)]);
    write('b');
    await turns();
    syncs[1]?.done();
    await turns();
    expect(answered[1]).toBe('b');
  });

  test('a close: waits for the sync under way', async () => {
    write('a');
    await turns();
    note('closed', batches.close());
    await turns();
    expect(answered).toEqual([]);
    syncs[0]?.done();
    await turns();
    expect(answered).toEqual(['a', 'closed']);
  });
});
