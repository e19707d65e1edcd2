import { chmodSync, cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { VERSION } from '../../../kernel/version.ts';
import { launcher } from '../../../scripts/launcher.ts';
import { AGENT_BIN } from '../../support/agent-process.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const STARTER = join(ROOT, 'native/prebuilt', `exec-bytes-${process.arch}`);

interface Start {
  /** Bytes, one a character. */
  readonly env?: readonly string[];
  /** The command that the agent wraps, with the same notation. */
  readonly wrapped: readonly string[];
  readonly ignored?: bigint;
  readonly blocked?: bigint;
  /** The soft limit of open files. */
  readonly openFiles?: bigint;
}

/** Starts the agent with exactly these bytes. @returns what its child wrote */
async function wrote({
  env = ['PATH=/usr/bin:/bin'],
  wrapped,
  ignored = 0n,
  blocked = 0n,
  openFiles = 0n,
}: Start): Promise<string> {
  using dir = new TemporaryDir();
  const args = [AGENT_BIN, 'run', `--state-dir=${dir.join('state')}`, '--', ...wrapped];
  const sets = [ignored, blocked, openFiles].map((set) => set.toString(16).padStart(16, '0'));
  const texts = [...sets, AGENT_BIN, String(args.length), ...args, ...env];
  const body = texts.map((text) => `${text}\0`).join('');
  writeFileSync(dir.join('start'), Buffer.from(`${body.length}\0${body}\n`, 'latin1'));
  await using agent = new ManagedProcess({
    command: 'sh',
    argv: [
      '-c',
      'exec "$0" 9 9<"$1" >"$2" 2>"$3"',
      STARTER,
      ...['start', 'out', 'log'].map((n) => dir.join(n)),
    ],
  });
  await agent.exited;
  return readFileSync(dir.join('out'), 'latin1');
}

describe.concurrent('the environment of kuma-dp', () => {
  const PATH = 'PATH=/usr/bin:/bin';

  test.for([
    ['names that are no shell identifiers', [PATH, 'my.var=5', 'a-b=c', '%x=', 'BASH_FUNC_f%%=() { :\n}']],
    ['names of a launcher’s own', ['self=1', 'base=2', 'node=3', 'PWD=/nowhere', 'OLDPWD=', '_=x', PATH]],
    ['no PWD where there was none', [PATH]],
    ['bytes that are not UTF-8', [PATH, 'latin=\xe9', 'b\xff=\xfe', 'broken=\xe2\x82']],
    ['a name that is there twice', ['A=1', PATH, 'A=2', 'A=1']],
    ['texts without a name or a value', [PATH, '=x', 'nothing']],
    ['numbers as names, in their order', ['2=b', PATH, '1=a']],
    ['a long value', [`LONG=${'x'.repeat(100_000)}`, PATH]],
  ] as const)('has %s', async ([, env]) => {
    expect(await wrote({ env, wrapped: ['cat', '/proc/self/environ'] })).toBe(
      env.map((e) => `${e}\0`).join(''),
    );
  });

  test.for([
    'NODE_OPTIONS=--require=/none',
    'NODE_OPTIONS=--a-flag-of-another-version',
    'NODE_EXTRA_CA_CERTS=/none.pem',
    'NODE_V8_COVERAGE=/proc/none',
    'NODE_REPL_EXTERNAL_MODULE=/none',
    'NODE_CHANNEL_FD=7',
    'NODE_TLS_REJECT_UNAUTHORIZED=0',
    'NODE_DEBUG=child_process',
    'NODE_PENDING_DEPRECATION=1',
    'OPENSSL_CONF=/none.cnf',
    'OPENSSL_MODULES=/none',
    'SSL_CERT_FILE=/none.pem',
    'UV_THREADPOOL_SIZE=0',
    'LD_PRELOAD=',
    'LD_LIBRARY_PATH=/none',
    'GRPC_TRACE=all',
  ])('has %s, and the agent’s Node does not', async (variable) => {
    const env = [variable, PATH];
    expect(await wrote({ env, wrapped: ['cat', '/proc/self/environ'] })).toBe(`${variable}\0${PATH}\0`);
  });

  test('is empty if it was empty', async () => {
    expect(await wrote({ env: [], wrapped: ['/bin/cat', '/proc/self/environ'] })).toBe('');
  });
});

describe.concurrent('kuma-dp has', () => {
  const NONE = { ignored: 0n, blocked: 0n };

  test('its arguments, byte for byte', async () => {
    const wrapped = ['cat', '/proc/self/cmdline', '', 'a\xffb', 'é', '\xfe', 'x=\xe2\x82'];
    expect(await wrote({ wrapped })).toBe(wrapped.map((argument) => `${argument}\0`).join(''));
  });

  test.for([
    ['nohup', { ignored: 1n }],
    ['systemd', { ignored: 1n << 12n }],
    ['SIGTERM and a real-time signal', { ignored: (1n << 14n) | (1n << 63n), blocked: (1n << 33n) | 2n }],
  ] as const)('the signals ignored and blocked that the agent was started with: %s', async ([, sets]) => {
    const status = await wrote({ wrapped: ['cat', '/proc/self/status'], ...sets });
    const found = (field: string): bigint =>
      BigInt(`0x${new RegExp(`${field}:\\s*(\\w+)`).exec(status)?.[1]}`);
    expect({ ignored: found('SigIgn'), blocked: found('SigBlk') }).toEqual({ ...NONE, ...sets });
  });
});

test.for([7_777n, 300n])('kuma-dp has the limit of open files that the agent had: %s', async (openFiles) => {
  const limits = await wrote({ wrapped: ['cat', '/proc/self/limits'], openFiles });
  expect(/^Max open files +(\d+)/m.exec(limits)?.[1]).toBe(String(openFiles));
});

/** A folder with the build, far from this checkout; its Node is a link to the pinned one. */
function unpacked(dir: TemporaryDir, name: string): string {
  const base = dir.join(name);
  cpSync(join(ROOT, 'dist/kuma-dp-agent'), join(base, 'lib'), { recursive: true });
  mkdirSync(join(base, 'bin'));
  writeFileSync(
    join(base, 'bin/kuma-dp-agent'),
    launcher({ name: 'kuma-dp-agent', cpu: process.arch, nodes: ['lib/node'], main: 'lib/main.js' }),
    { mode: 0o755 },
  );
  symlinkSync(process.execPath, join(base, 'lib/node'));
  return base;
}

async function version(command: string, options: { cwd?: string; PATH?: string } = {}): Promise<object> {
  const { cwd = '/', PATH = '/nowhere' } = options;
  await using run = new ManagedProcess({ command, argv: ['version'], env: { PATH }, cwd });
  const { code } = await run.exited;
  return { code, said: run.stdout + run.stderr };
}

const WORKS = { code: 0, said: `kuma-dp-agent ${VERSION}\n` };

describe('a launcher', () => {
  test('runs from a path with blanks, by a link, from a relative path, and after a move', async () => {
    using dir = new TemporaryDir();
    const base = unpacked(dir, 'a path  with "blanks"');
    expect(await version(join(base, 'bin/kuma-dp-agent'))).toEqual(WORKS);
    expect(await version('./bin/kuma-dp-agent', { cwd: base })).toEqual(WORKS);
    symlinkSync('a path  with "blanks"/bin/kuma-dp-agent', dir.join('link'));
    expect(await version(dir.join('link'))).toEqual(WORKS);
    renameSync(base, dir.join('moved'));
    expect(await version(dir.join('moved/bin/kuma-dp-agent'))).toEqual(WORKS);
  });

  test.for([
    ['is not there', () => {}, /Cannot find Node\.js\. Install Node\.js 24 or later \(nodejs\.org/],
    [
      'needs a C library that is not there',
      (node: string) => {
        const program = readFileSync('/bin/true');
        const at = program.indexOf('/lib');
        program.write('/bil', at);
        writeFileSync(node, program, { mode: 0o755 });
      },
      /its own Node\.js needs glibc, which this system lacks.* apk add nodejs\)$/,
    ],
    [
      'is for another processor',
      (node: string) => {
        const program = readFileSync(process.execPath).subarray(0, 4_096);
        // e_machine: an Alpha.
        program.writeUInt16LE(0x9026, 18);
        writeFileSync(node, program, { mode: 0o755 });
      },
      /its own Node\.js is for another processor, and no other Node\.js is on PATH/,
    ],
    [
      'may not be executed',
      (node: string) => {
        writeFileSync(node, '');
        chmodSync(node, 0o644);
      },
      /its own Node\.js may not be executed here/,
    ],
  ] as const)(
    'takes the Node on PATH where its own %s, and else says so in one line',
    async ([, make, says]) => {
      using dir = new TemporaryDir();
      const base = unpacked(dir, 'there');
      const node = join(base, 'lib/node');
      renameSync(node, dir.join('node'));
      make(node);
      const program = join(base, 'bin/kuma-dp-agent');
      const failed = (await version(program)) as { readonly code: number; readonly said: string };
      expect(failed.code).toBe(78);
      expect(failed.said.trimEnd()).toMatch(says);
      expect(failed.said.trimEnd().split('\n')).toHaveLength(1);
      expect(await version(program, { PATH: `/nowhere::${dir.path}` })).toEqual(WORKS);
    },
  );

  test('has its program’s name in a list of processes', async () => {
    await using agent = new ManagedProcess({ command: AGENT_BIN, argv: ['run', '--', 'sleep', '30'] });
    await waitUntil(() => agent.stderr.includes('child.spawned'), { what: 'a child' });
    expect(readFileSync(`/proc/${agent.pid}/comm`, 'utf8')).toBe('kuma-dp-agent\n');
    const { pid } = JSON.parse(agent.stderr.split('\n')[0] ?? '') as { readonly pid: number };
    expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n');
  });
});
