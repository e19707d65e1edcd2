import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Store } from '../../../control-plane/ports.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { StoreProcess } from './store-process.ts';
import { introductionOf, StoreWorld } from './store-worlds.ts';

const HERE = 'replica-1';
const HOUR_MS = 3_600_000;

function leave(store: Store, name: string): Promise<unknown> {
  return store.leave(introductionOf(name), { replica: HERE, headStartMs: 0 });
}

async function names(store: Store): Promise<readonly string[]> {
  return (await store.records()).map(({ key }) => key.name);
}

describe('the SQLite file', () => {
  let world: StoreWorld;
  let path: string;

  beforeEach(async () => {
    world = await StoreWorld.start('sqlite');
    path = await world.newLocation();
  });

  afterEach(() => world[Symbol.asyncDispose]());

  const fill = async (count: number) => {
    const store = await world.open(path);
    await Promise.all(Array.from({ length: count }, (_, index) => leave(store, `web-${index}`)));
    await world.close(store);
  };
  const edit = (change: string) => {
    const sqlite = new Database(path);
    sqlite.exec(change);
    sqlite.close();
  };

  test('is opened by its path, with or without a scheme', async () => {
    await world.close(await world.open(`sqlite:${path}`));
    expect((await world.open(path)).kind).toBe('sqlite');
  });

  test('reads a departure of 0.1.0 as a requested one, and writes departures that 0.1.0 can read', async () => {
    const before = await world.open(path);
    for (const name of ['old', 'new']) {
      await leave(before, name);
      await before.attempt('next due', () =>
        Promise.resolve({
          kind: 'ended',
          outcome: 'deleted',
          reason: 'its agent asked to leave',
          body: name,
        }),
      );
    }
    await world.close(before);
    // As 0.1.0 writes it.
    edit("update departures set cause = 'announced' where name = 'old'");
    const sqlite = new Database(path, { readonly: true });
    expect(sqlite.prepare('select distinct cause from departures').all()).toEqual([{ cause: 'announced' }]);
    sqlite.close();
    const store = await world.open(path);
    const departures = await store.departures({ causes: ['requested'], limit: 10 });
    expect(departures.map(({ key, cause }) => [key.name, cause])).toEqual([
      ['new', 'requested'],
      ['old', 'requested'],
    ]);
    expect(await store.deletedBodies(0, ['requested'])).toHaveLength(2);
    // Its agent has left: it does not get the name back.
    expect(await store.leave(introductionOf('old'), { replica: HERE, headStartMs: 0 })).toMatchObject({
      kind: 'departed',
      departure: { cause: 'requested' },
    });
  });

  test('of 0.1.0 is upgraded in place, and keeps its contents', async () => {
    await fill(2);
    edit(`alter table dataplanes drop column serving; alter table dataplanes drop column unseen;
      drop table instances; drop table zones; alter table dataplanes drop column peer;
      drop table sidelinings; drop table acquaintances; drop index dataplanes_due_at_epoch;
      drop index dataplanes_replica_state_epoch; create index dataplanes_due_at on dataplanes (due_at);
      create index dataplanes_replica on dataplanes (replica);
      delete from kysely_migration where name in ('0002-evidence', '0003-scale', '0004-witnesses')`);
    const store = await world.open(path);
    expect(await names(store)).toEqual(['web-0', 'web-1']);
    expect(await store.instances()).toEqual([]);
    expect(await store.attach(introductionOf('web-2'), HERE)).toMatchObject({ kind: 'attached', epoch: 3 });
  });

  test('is refused to a second process at once, and opens for it after a kill of the first', async () => {
    const first = new StoreProcess(path, 'first');
    await first.until(() => first.left.length > 0, 'the first to write');
    const second = new StoreProcess(path, 'second');
    await second.ended();
    const message = `Cannot use the store ${path}: another process has it. A file is for one kuma-deregistrar; for several, use --store postgres://…`;
    expect(second.said).toEqual([
      { said: 'failed', code: 'STORE_UNUSABLE', message: `OperationalError: ${message}` },
    ]);
    await expect(world.open(path)).rejects.toMatchObject({ code: 'STORE_UNUSABLE', message });
    await first.kill();
    expect(first.failures).toEqual([]);
    expect(await names(await world.open(path))).toEqual(expect.arrayContaining([...first.left]));
  });

  test('loses no acknowledged write when its process is killed while it writes', async () => {
    for (const round of [1, 2, 3]) {
      const writer = new StoreProcess(path, `round-${round}`);
      await writer.until(() => writer.left.length > 30 * round, 'it to write');
      await writer.kill();
      const store = await world.open(path);
      const found = new Set(await names(store));
      expect({ lost: writer.left.filter((name) => !found.has(name)), failures: writer.failures }).toEqual({
        lost: [],
        failures: [],
      });
      await world.close(store);
    }
  });

  test('shows streams of an earlier process as lost since the next one has looked', async () => {
    const clock = new FakeClock();
    const first = await world.open(path, { clock });
    await first.heartbeat('old-process', HOUR_MS);
    await first.attach(introductionOf('web-1'), 'old-process');
    await world.close(first);
    clock.advance(HOUR_MS);
    const second = await world.open(path, { clock });
    expect(await second.heartbeat('new-process', HOUR_MS)).toMatchObject({ replicas: ['new-process'] });
    expect(
      await second.noteSilence({
        self: 'asks',
        owedMs: 0,
        silentMs: HOUR_MS,
        returnMs: () => HOUR_MS,
        anew: true,
      }),
    ).toEqual({
      unseen: 1,
      lost: 0,
      expected: 1,
    });
    expect(await second.find(introductionOf('web-1').key)).toMatchObject({
      state: 'unseen',
      lostAtMs: await second.nowMs(),
    });
  });

  describe('that cannot be used is refused, and stays as it is', () => {
    test.for<{ readonly name: string; readonly spoil: () => void; readonly says: RegExp }>([
      {
        name: 'cut in the middle',
        spoil: () => {
          truncateSync(path, Math.floor(statSync(path).size / 2));
        },
        says: /it is damaged \(.+\)\. Move the file away/,
      },
      {
        name: 'that lacks its last page',
        spoil: () => {
          truncateSync(path, statSync(path).size - 4096);
        },
        says: /it is damaged \(.+\)\. Move the file away/,
      },
      {
        name: 'cut in its header',
        spoil: () => {
          truncateSync(path, 50);
        },
        says: /it is damaged \(50 bytes are left of it\)/,
      },
      {
        name: 'with a page of something else',
        spoil: () => {
          const bytes = readFileSync(path);
          bytes.fill(0xa5, 3 * 4096, 4 * 4096);
          writeFileSync(path, bytes);
        },
        says: /it is damaged \(.+\)\. Move the file away/,
      },
      {
        name: 'that is no database',
        spoil: () => {
          writeFileSync(path, 'store: somewhere else\n'.repeat(500));
        },
        says: /it is damaged \(file is not a database\)/,
      },
      {
        name: 'that is empty beside a write-ahead log',
        spoil: () => {
          copyFileSync(path, `${path}-wal`);
          truncateSync(path);
        },
        says: /it is empty, but its write-ahead log is not/,
      },
      {
        name: 'of another program',
        spoil: () => {
          edit('pragma application_id = 7; pragma journal_mode = delete');
        },
        says: /it is a database of another program\. Move the file away, with its -wal, and start again: pending departures are lost, and the sweep deletes lifecycle-managed dataplanes that stay offline$/,
      },
      {
        name: 'of a newer version',
        spoil: () => {
          edit(`insert into kysely_migration values ('9999-of-the-future', '2999-01-01T00:00:00.000Z')`);
        },
        says: /a newer kuma-deregistrar has changed it \(9999-of-the-future\); start that version again/,
      },
    ])('a file $name', async ({ spoil, says }) => {
      await fill(200);
      spoil();
      const before = readFileSync(path);
      const error: unknown = await world.open(path).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'STORE_UNUSABLE', message: expect.stringMatching(says) as string });
      expect(String(error)).toContain(path);
      expect(readFileSync(path).equals(before)).toBe(true);
    });

    test('in a missing folder is refused', async () => {
      await expect(world.open(`${path}/store.db`)).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    });
  });

  test('on a full disk reports it, loses nothing, and recovers when there is room', async () => {
    const writer = new StoreProcess(path, 'full', 1024);
    await writer.until(() => writer.failures.length > 0, 'the disk to be full');
    expect(new Set(writer.failures.map(({ code }) => code))).toEqual(new Set(['STORE_UNAVAILABLE']));
    const before = writer.left.length;
    execFileSync('prlimit', ['--pid', String(writer.pid), '--fsize=unlimited']);
    await writer.until(() => writer.left.length > before + 50, 'it to write again');
    await writer.kill();
    expect(await names(await world.open(path))).toEqual(expect.arrayContaining([...writer.left]));
  });

  describe('the clock', () => {
    test.for([HOUR_MS, -HOUR_MS])('does not move when the wall clock jumps by %d ms', async (jumpMs) => {
      const clock = new FakeClock();
      const store = await world.open(path, { clock });
      const startMs = await store.nowMs();
      expect(startMs).toBe(clock.wallMs());
      clock.wallJumpMs = jumpMs;
      clock.advance(1_000);
      expect(await store.nowMs()).toBe(startMs + 1_000);
    });

    test('starts at the latest recorded time, if the wall clock is behind that', async () => {
      const clock = new FakeClock();
      const first = await world.open(path, { clock });
      clock.advance(500);
      await leave(first, 'web-1');
      const writtenMs = await first.nowMs();
      await world.close(first);
      clock.wallJumpMs = -HOUR_MS;
      const second = await world.open(path, { clock });
      expect(await second.nowMs()).toBe(writtenMs);
      clock.advance(10);
      expect(await second.nowMs()).toBe(writtenMs + 10);
    });

    test.for([
      { name: 'a pause', pass: (clock: FakeClock) => clock.advance(5_000), code: 'FENCE_LOST' },
      {
        name: 'a suspend, which the monotonic clock does not see',
        pass: (clock: FakeClock) => {
          clock.wallJumpMs = 5_000;
        },
        code: 'FENCE_LOST',
      },
      { name: 'less than the lease', pass: (clock: FakeClock) => clock.advance(4_999), code: undefined },
      {
        name: 'a wall clock that is set back',
        pass: (clock: FakeClock) => {
          clock.wallJumpMs = -HOUR_MS;
        },
        code: undefined,
      },
    ])('the fence after $name', async ({ pass, code }) => {
      const clock = new FakeClock();
      const store = await world.open(path, { clock });
      await leave(store, 'web-1');
      let thrown: unknown;
      await store.attempt('next due', (_record, fence) => {
        pass(clock);
        try {
          fence.assertHeld();
        } catch (error) {
          thrown = error;
        }
        return Promise.resolve({ kind: 'later', afterMs: 0, reason: 'a test' });
      });
      expect((thrown as { code?: string } | undefined)?.code).toBe(code);
      expect(clock.armed).toBe(0);
    });
  });

  describe('group commit', () => {
    test('writes jobs together that arrive together', async () => {
      const store = await world.open(path);
      const writtenBy = async (work: () => Promise<unknown>) => {
        const before = statSync(`${path}-wal`).size;
        await work();
        return statSync(`${path}-wal`).size - before;
      };
      const oneByOne = await writtenBy(async () => {
        for (let index = 0; index < 40; index += 1) await leave(store, `one-${index}`);
      });
      const together = await writtenBy(() =>
        Promise.all(Array.from({ length: 40 }, (_, index) => leave(store, `many-${index}`))),
      );
      // A commit writes each page that it changed once.
      expect(together).toBeLessThan(oneByOne / 5);
    });

    test('undoes a job that fails, and keeps the others', async () => {
      await fill(0);
      edit(
        `create trigger poison before insert on dataplanes when new.incarnation = 'poison'
         begin select raise(abort, 'poisoned'); end`,
      );
      const store = await world.open(path);
      await store.attach(introductionOf('old'), HERE);
      const introductions = [
        introductionOf('a'),
        introductionOf('old', { incarnation: 'poison' }),
        introductionOf('b'),
      ];
      const settled = await Promise.allSettled(
        introductions.map((introduction) => store.attach(introduction, HERE)),
      );
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect([await names(store), await store.departures({ limit: 5 })]).toEqual([['old', 'a', 'b'], []]);
    });

    test('fails all jobs of a transaction that a job ends, and no other', async () => {
      await fill(0);
      edit(
        `create trigger poison before insert on dataplanes when new.name = 'poison'
         begin select raise(rollback, 'poisoned'); end`,
      );
      const store = await world.open(path);
      const settled = await Promise.allSettled(
        ['a', 'poison', 'b'].map((name) => store.attach(introductionOf(name), HERE)),
      );
      expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
      expect(await names(store)).toEqual([]);
      await store.attach(introductionOf('a'), HERE);
      expect(await names(store)).toEqual(['a']);
    });
  });
});
