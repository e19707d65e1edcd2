import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { describeError } from '../../../kernel/errors.ts';
import { KeptFiles, keptText } from '../../../program/kept-files.ts';
import { FakeClock } from '../../support/fake-clock.ts';

let folder: string;
let path: string;
let reported: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-'));
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

function keep(): () => number {
  const file = keptText({
    path,
    parse: (text) => (/^\d$/.test(text) ? Number(text) : undefined),
    expected: 'a digit',
    onKept: (_path, err) => reported.push(describeError(err)),
  });
  return () => file.fresh;
}

it('is read again after a change that keeps size, inode and time', () => {
  const look = keep();
  overwrite('2');
  expect(look()).toBe(2);
});

it('is read until it is right, and a fault is said once', () => {
  const look = keep();
  overwrite('x');
  expect([look(), look()]).toEqual([1, 1]);
  overwrite('3');
  expect(look()).toBe(3);
  overwrite('y');
  look();
  expect(reported).toHaveLength(2);
});

it('that became a folder or vanished leaves the last content', () => {
  const look = keep();
  renameSync(path, `${path}.old`);
  expect(look()).toBe(1);
  renameSync(folder, `${folder}.moved`);
  expect(look()).toBe(1);
  renameSync(`${folder}.moved`, folder);
  renameSync(`${path}.old`, path);
  overwrite('4');
  expect(look()).toBe(4);
});

it('tells apart other content, the same content written again, and content that is usable again', () => {
  const load = (): string => {
    const text = readFileSync(path, 'utf8');
    if (text === 'broken') throw new Error('broken');
    return text;
  };
  const files = new KeptFiles({ paths: [path], load, onKept: () => {} });
  const changes = ['1', '2', 'broken', '2', '2'].map((text) => {
    overwrite(text);
    return files.refresh();
  });
  expect(changes).toEqual([false, true, false, true, false]);
});

it('is looked at once in 100 ms if it has a clock, however often it is asked for', () => {
  const clock = new FakeClock();
  const files = new KeptFiles({
    paths: [path],
    load: () => readFileSync(path, 'utf8'),
    onKept: () => {},
    clock,
  });
  const seen = [files.fresh];
  overwrite('2');
  for (const waitMs of [0, 99, 1]) {
    clock.advance(waitMs);
    seen.push(files.fresh);
  }
  expect(seen).toEqual(['1', '1', '1', '2']);
});
