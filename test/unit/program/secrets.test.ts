import { describe, expect, it } from 'vitest';

import {
  DEREGISTER_OPTIONS,
  DOCTOR_OPTIONS,
  ROTATE_OPTIONS,
  RUN_OPTIONS,
  STATUS_OPTIONS,
} from '../../../agent/options.ts';
import { BRAKE_OPTIONS, resolveServeOptions, SERVE_OPTIONS } from '../../../control-plane/options.ts';
import { resolveOptions, type OptionTable } from '../../../kernel/options.ts';
import { withoutSecretsIn } from '../../../program/redaction.ts';

const SECRET = 'S3CR3T';

/** What operators write where a value belongs, with a secret in it. */
const VALUES = [
  `https://u:${SECRET}@h:1/`,
  `https://${SECRET}@h`,
  `https://u:a/${SECRET}@h:1`,
  `https://u:a#${SECRET}@h:1`,
  `https://h/cp-1?token=${SECRET}`,
  `https://h/#access_token=${SECRET}`,
  `grpcs://u:${SECRET}@h:1`,
  `GRPCS://u:${SECRET}@h`,
  `u:${SECRET}@h:80`,
  `ftp://u:${SECRET}@h`,
  `postgres://u:${SECRET}@h/db`,
  `postgres://u:${SECRET}#x@h/db`,
  `postgres://u:a/${SECRET}@h/db`,
  `postgres://u:p?${SECRET}@h`,
  `postgres://u:${SECRET}@h:99999/db`,
  `postgres://u:${SECRET}@[::1/db`,
  `postgres:u:${SECRET}@h`,
  `Postgres://u:${SECRET}@h/db?sslmode=x`,
  `mysql://u:${SECRET}@h/db`,
  `host=h password=${SECRET}`,
  `Bearer ${SECRET}`,
  `eyJhbGciOiJSUzI1NiJ9.${SECRET}.c2ln`,
  `-----BEGIN PRIVATE KEY-----\n${SECRET}`,
];

const TABLES: readonly (readonly [name: string, table: OptionTable])[] = [
  ['run', RUN_OPTIONS],
  ['deregister', DEREGISTER_OPTIONS],
  ['doctor', DOCTOR_OPTIONS],
  ['drain', ROTATE_OPTIONS],
  ['status', STATUS_OPTIONS],
  ['serve', SERVE_OPTIONS],
  ['brake', BRAKE_OPTIONS],
];

const ROWS = TABLES.flatMap(([name, table]) =>
  Object.values(table).map(({ flag }) => [`${name} --${flag}`, table, flag] as const),
);

describe('an option with a secret in its value', () => {
  it.each(ROWS)('%s: no problem repeats it, from a flag or the environment', (_title, table, flag) => {
    for (const value of VALUES) {
      const envName = `X_${flag.toUpperCase().replaceAll('-', '_')}`;
      for (const sources of [
        { flags: new Map([[flag, [value]]]), env: {} },
        { flags: new Map([[flag, ['a', value]]]), env: {} },
        { flags: new Map(), env: { [envName]: value }, lenient: true },
      ]) {
        const { problems, ignored } = resolveOptions(table, { ...sources, envPrefix: 'X_' });
        expect([...problems, ...ignored].join('\n'), value).not.toContain(SECRET);
      }
    }
  });

  it.each([
    'mysql://u:S3CR3T@h/db',
    'redis://h/0',
    'postgres:u:S3CR3T@h',
    'postgres://u:a#S3CR3T@h/db',
    'Postgres://u:S3CR3T@h/db?sslmode=x',
    'host=h password=S3CR3T',
    'dbname=kuma user=u',
  ])('--store %s is no file: it is refused where options are', (value) => {
    const { problems } = resolveServeOptions({ flags: new Map([['store', [value]]]), env: {} });
    expect(problems).toEqual([expect.stringMatching(/^--store .*\[redacted\]$/)]);
  });

  it.each([
    '/var/lib/k/s.sqlite',
    'a:b.sqlite',
    'sqlite:///a',
    'sqlite:a',
    'Postgres://u:p@h/db',
    'POSTGRESQL://u@h/db',
  ])('--store %s is taken', (value) => {
    const { values, problems } = resolveServeOptions({ flags: new Map([['store', [value]]]), env: {} });
    expect([values.store, problems]).toEqual([value, []]);
  });

  it('is shown where it holds none: it says what was typed', () => {
    const { problems } = resolveOptions(RUN_OPTIONS, {
      flags: new Map([['endpoint', ['cp.example:5682']]]),
      env: {},
      envPrefix: 'X_',
    });
    expect(problems.join('')).toContain('"cp.example:5682"');
  });
});

describe('a line that a program writes', () => {
  it.each([
    ['Cannot reach https://u:a/S3CR3T@h:1/x now', 'Cannot reach https://[redacted]@h:1/x now'],
    ['"postgres://u:S3CR3T@h/db" is away', '"postgres://[redacted]@h/db" is away'],
    ['GET http://h/a?b=c&token=S3CR3T&d=e failed', 'GET http://h/a?b=c&token=[redacted]&d=e failed'],
    ['http://h/#access_token=S3CR3T', 'http://h/#access_token=[redacted]'],
    ['/page?token=S3CR3T', '/page?token=[redacted]'],
    ['page&token=S3CR3T', 'page&token=[redacted]'],
    ['page#token=S3CR3T', 'page#token=[redacted]'],
    ['{"url":"http://h:1/a","mail":"a@b"}', '{"url":"http://h:1/a","mail":"a@b"}'],
    ['http://a:1/x and b@c', 'http://a:1/x and b@c'],
    ['key "-----BEGIN RSA PRIVATE KEY-----\\nS3CR3T", "b"', 'key "[redacted]", "b"'],
    ['file "eyJhbGciOiJSUzI1NiJ9.S3CR3T.c2ln"', 'file "[redacted]"'],
  ])('%s', (line, written) => {
    expect(withoutSecretsIn(line)).toBe(written);
  });
});
