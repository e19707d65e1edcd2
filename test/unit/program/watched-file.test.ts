import { mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { WatchedFile } from '../../../program/watched-file.ts';
import { FakeClock } from '../../support/fake-clock.ts';

let folder: string;
let path: string;
let reported: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watched-'));
  path = join(folder, 'number');
  writeFileSync(path, '1');
  reported = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** As `cp -p` and `rsync --inplace --times` do. */
function overwrite(text: string): void {
  const { atime, mtime } = statSync(path);
  writeFileSync(path, text);
  utimesSync(path, atime, mtime);
}

async function watch(): Promise<() => Promise<number>> {
  const clock = new FakeClock();
  const file = await WatchedFile.open({
    path,
    parse: (text) => (/^\d$/.test(text) ? Number(text) : undefined),
    expected: 'a digit',
    clock,
    report: ({ reason }) => reported.push(reason),
  });
  return () => {
    clock.advance(2_000);
    return file.current();
  };
}

it('is read again after a change that keeps size, inode and time', async () => {
  const look = await watch();
  overwrite('2');
  expect(await look()).toBe(2);
});

it('is read until it is right, and a fault is said once', async () => {
  const look = await watch();
  overwrite('x');
  expect([await look(), await look()]).toEqual([1, 1]);
  overwrite('3');
  expect(await look()).toBe(3);
  overwrite('y');
  await look();
  expect(reported).toHaveLength(2);
});

it('that became a folder or vanished leaves the last content', async () => {
  const look = await watch();
  renameSync(path, `${path}.old`);
  expect(await look()).toBe(1);
  renameSync(folder, `${folder}.moved`);
  expect(await look()).toBe(1);
  renameSync(`${folder}.moved`, folder);
  renameSync(`${path}.old`, path);
  overwrite('4');
  expect(await look()).toBe(4);
});
