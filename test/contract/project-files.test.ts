import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { VERSION } from '../../kernel/version.ts';
import { shownVersions, VERSIONED_FILES } from '../../scripts/release/file-names.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  readonly version: string;
  readonly license: string;
  readonly scripts: Readonly<Record<string, string>>;
};

test('package.json alone says the version: programs, lockfile and documents follow it', () => {
  const lockfile = JSON.parse(read('package-lock.json')) as {
    readonly version: string;
    readonly packages: Readonly<Record<string, { readonly version?: string; readonly license?: string }>>;
  };
  expect(VERSION).toBe(manifest.version);
  expect([lockfile.version, lockfile.packages['']?.version]).toEqual([VERSION, VERSION]);
});

test.for(VERSIONED_FILES)('%s names this version, and no other', (path) => {
  expect(new Set(shownVersions(read(path)))).toEqual(new Set([VERSION]));
});

test('the licence is the whole Apache License 2.0, and package.json says so', () => {
  const text = read('LICENSE');
  expect(text).toMatch(/^\s+Apache License\n\s+Version 2\.0, January 2004\n/);
  expect(text).toContain('END OF TERMS AND CONDITIONS');
  expect(manifest.license).toBe('Apache-2.0');
});

describe('workflows', () => {
  interface Workflow {
    readonly jobs: Readonly<
      Record<string, { readonly steps: readonly { readonly run?: string; readonly uses?: string }[] }>
    >;
  }
  const folder = '.github/workflows';
  const files = readdirSync(join(ROOT, folder));

  test.for(files)('%s names npm scripts, files and options that are there', (file) => {
    const { jobs } = parse(read(join(folder, file))) as Workflow;
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    const commands = steps.flatMap(({ run = '' }) => run.split('\n'));
    const scripts = commands.flatMap((line) => /npm run ([\w:-]+)/.exec(line)?.[1] ?? []);
    expect(scripts.filter((name) => manifest.scripts[name] === undefined)).toEqual([]);
    const run = commands.flatMap((line) => /^bash (\S+)/.exec(line)?.[1] ?? []);
    expect(run.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(
      steps.filter(({ run: command, uses }) => (command === undefined) === (uses === undefined)),
    ).toEqual([]);
  });

  test('run what CI runs, and build for both processors twice', () => {
    expect(read(`${folder}/ci.yml`)).toContain('bash .ci/run');
    const release = read(`${folder}/release.yml`);
    for (const cpu of ['x64', 'arm64'])
      expect(release.match(new RegExp(`npm run package -- --cpu ${cpu}`, 'g'))).toHaveLength(2);
  });
});
