import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';

import { beforeEach, describe, expect, test } from 'vitest';

import { readBounded } from '../../../../agent/state/bounded-file.io.ts';
import { listStateFiles } from '../../../../agent/state/state-directory.io.ts';
import { WholeFile } from '../../../../agent/state/whole-file.io.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';

let dir: TemporaryDir;
let path: string;

beforeEach(() => {
  dir = new TemporaryDir();
  path = dir.join('state.json');
});

describe('readBounded()', () => {
  test('reads a file up to its limit', () => {
    writeFileSync(path, 'grüße');
    expect(readBounded(path, 7)).toBe('grüße');
  });

  test.for<{ readonly what: string; readonly make: (at: string) => void; readonly says: string }>([
    { what: 'a larger file', make: (at) => writeFileSync(at, 'x'.repeat(65)), says: 'larger than 64 bytes' },
    { what: 'a folder', make: (at) => mkdirSync(at), says: 'not a regular file' },
    {
      what: 'a FIFO without a writer',
      make: (at) => execFileSync('mkfifo', [at]),
      says: 'not a regular file',
    },
    {
      what: 'a link to a file',
      make: (at) => {
        writeFileSync(`${at}.target`, 'secret');
        symlinkSync(`${at}.target`, at);
      },
      says: 'symbolic link',
    },
    { what: 'a dangling link', make: (at) => symlinkSync(`${at}.nowhere`, at), says: 'symbolic link' },
    { what: 'a link to a device', make: (at) => symlinkSync('/dev/zero', at), says: 'symbolic link' },
  ])('refuses $what', ({ make, says }) => {
    make(path);
    expect(() => readBounded(path, 64)).toThrow(says);
  });

  test('refuses a device', () => {
    expect(() => readBounded('/dev/zero', 64)).toThrow('not a regular file');
  });

  test('says of a missing file that it is missing', () => {
    expect(() => readBounded(path)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});

describe('WholeFile', () => {
  test('replaces a link and leaves alone what it leads to', async () => {
    const target = dir.join('target');
    writeFileSync(target, 'of another process');
    symlinkSync(target, path);
    await new WholeFile(path).write('new');
    expect(readFileSync(target, 'utf8')).toBe('of another process');
    expect(readBounded(path)).toBe('new');
  });

  test('leaves nothing behind where it cannot be written', async () => {
    mkdirSync(path);
    await expect(new WholeFile(path).write('new')).rejects.toThrow('EISDIR');
    chmodSync(dir.path, 0o700);
    expect(execFileSync('ls', [dir.path], { encoding: 'utf8' })).toBe('state.json\n');
  });
});

describe('listStateFiles()', () => {
  test('names the state files of a folder, and stops in one that has no end', () => {
    for (const name of ['a.json', 'b.json', 'c.json']) writeFileSync(dir.join(name), '');
    expect(listStateFiles(dir.path)).toHaveLength(3);
    expect(listStateFiles(dir.path, 2)).toHaveLength(2);
  });

  test('a file is no folder', () => {
    writeFileSync(path, '');
    expect(listStateFiles(path)).toBeUndefined();
  });
});
