import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { tlsFiles } from '../../../kuma/tls-files.io.ts';

const FIXTURES = 'test/fixtures/tls';
let folder: string;
let caFile: string;
let kept: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tls-files-'));
  caFile = join(folder, 'ca.crt');
  copyFileSync(`${FIXTURES}/ca.crt`, caFile);
  kept = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function open(more: object = {}) {
  return tlsFiles({ caFile, ...more }, (path) => kept.push(path));
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

it('reads a replaced file again when asked, and says whether anything changed', () => {
  const files = open();
  const before = files.ca;
  expect(files.refresh()).toBe(false);
  replace(caFile, `# rotated\n${before}`);
  expect(files.ca).toBe(before);
  expect(files.refresh()).toBe(true);
  expect(files.ca).toBe(`# rotated\n${before}`);
  replace(caFile, `# rotated\n${before}`);
  expect(files.refresh()).toBe(false);
});

it('keeps the last good content while a file is broken or missing, and says so once for each fault', () => {
  const files = open();
  const before = files.ca;
  replace(caFile, 'half a certific');
  expect(files.refresh()).toBe(false);
  expect(files.refresh()).toBe(false);
  rmSync(caFile);
  expect(files.refresh()).toBe(false);
  expect(files.ca).toBe(before);
  expect(kept).toEqual([caFile, caFile]);
  replace(caFile, `# back\n${before}`);
  expect(files.refresh()).toBe(true);
});

it('takes a certificate and its key together: what does not fit is not in force', () => {
  const clientCertificateFile = join(folder, 'client.crt');
  const clientKeyFile = join(folder, 'client.key');
  copyFileSync(`${FIXTURES}/server.crt`, clientCertificateFile);
  copyFileSync(`${FIXTURES}/server.key`, clientKeyFile);
  const files = open({ clientCertificateFile, clientKeyFile });
  const { clientCertificate } = files;
  copyFileSync(`${FIXTURES}/ca.crt`, clientCertificateFile);
  expect(files.refresh()).toBe(false);
  expect(files.clientCertificate).toBe(clientCertificate);
  expect(kept).toHaveLength(1);
});

it('refuses at the start what cannot be used', () => {
  replace(caFile, '');
  expect(() => open()).toThrow(`Cannot use CA file "${caFile}": it is empty`);
});

it('reads a file again that was written over with its old size and time', () => {
  const files = open();
  const before = files.ca ?? '';
  const { atime, mtime } = statSync(caFile);
  writeFileSync(caFile, before.replace(/^/, '#').slice(0, before.length));
  utimesSync(caFile, atime, mtime);
  expect(files.refresh()).toBe(true);
});

it.each([
  ['a link to itself', (path: string) => symlinkSync(path, path)],
  ['a folder', (path: string) => mkdirSync(path)],
  ['a link into a file', (path: string) => symlinkSync('/dev/null/ca.crt', path)],
  ['a name that is too long', (path: string) => symlinkSync('x'.repeat(300), path)],
])('keeps the last good content while the file is %s', (_title, become) => {
  const files = open();
  const before = files.ca;
  rmSync(caFile);
  become(caFile);
  expect([files.refresh(), files.refresh()]).toEqual([false, false]);
  expect(files.ca).toBe(before);
  expect(kept).toEqual([caFile]);
});
