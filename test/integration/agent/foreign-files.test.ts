import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { AS_ANOTHER, CopyForOthers } from '../../support/copy-for-others.ts';
import { unavailable } from '../../support/need.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

const [SETPRIV, ...AS] = AS_ANOTHER;
const KUMA_DP = ['--', '/bin/kuma-dp', 'run', '--cp-address=https://127.0.0.1:1'];

let dir: TemporaryDir;
let another: CopyForOthers;

/** The folder `state` with a file in it, and the file `dataplane.yaml`. */
beforeAll(() => {
  dir = new TemporaryDir();
  chmodSync(dir.path, 0o755);
  another = new CopyForOthers();
  mkdirSync(dir.join('state'));
  for (const name of ['state/web-1.json', 'dataplane.yaml']) writeFileSync(dir.join(name), '{}');
});

afterAll(() => {
  another[Symbol.dispose]();
  dir[Symbol.dispose]();
});

beforeEach((context) => {
  if (spawnSync(SETPRIV, [...AS, another.bin, 'version']).status !== 0)
    unavailable(context, 'no other user can be tried: run as root, with a TMPDIR that it may enter');
});

function asAnother(...argv: readonly string[]): string {
  const { stdout, stderr } = spawnSync(SETPRIV, [...AS, another.bin, ...argv], { encoding: 'utf8' });
  return `${stdout}${stderr}`;
}

function give(name: string, uid: number, mode: number): string {
  chownSync(dir.join(name), uid, 0);
  chmodSync(dir.join(name), mode);
  return dir.join(name);
}

describe.each([
  ['root’s', 0, /as root(?! or)/],
  ['a user’s without a name', 65_533, /as uid 65533 or as root/],
])('what is %s', (_title, uid, whom) => {
  test.each(['status', 'drain', 'resume'])('%s names the users who may read the state folder', (command) => {
    const said = asAnother(command, `--state-dir=${give('state', uid, 0o700)}`);
    expect(said).toMatch(whom);
    expect(said).not.toContain('EACCES');
  });

  test('doctor reports that it cannot see, and names the users who can', () => {
    const state = `--state-dir=${give('state', uid, 0o700)}`;
    expect(asAnother('doctor', state)).toMatch(whom);
    const file = `--dataplane-file=${give('dataplane.yaml', uid, 0o600)}`;
    const said = asAnother('doctor', state, ...KUMA_DP, file);
    expect(said).toMatch(/^\? +dataplane: /m);
    expect(said).toMatch(whom);
  });

  test('deregister and status name the users who may read a state file', () => {
    give('state', uid, 0o755);
    const file = give('state/web-1.json', uid, 0o600);
    for (const argv of [
      ['deregister', `--state=${file}`],
      ['status', `--state-dir=${dir.join('state')}`],
    ])
      expect(asAnother(...argv)).toMatch(whom);
  });
});

test('a missing state folder does not count as an unreadable one', () => {
  expect(asAnother('status', `--state-dir=${dir.join('none')}`)).toContain('there is none');
});
