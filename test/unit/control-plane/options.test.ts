import { describe, expect, test } from 'vitest';

import { resolveServeOptions } from '../../../control-plane/options.ts';

function problemsOf(store: string): string {
  return resolveServeOptions({ flags: new Map([['store', [store]]]), env: {} }).problems.join('\n');
}

describe('--store', () => {
  test.each([
    'state.db',
    'postgres://kuma@db.example/kuma',
    'postgresql://kuma:a%23b@db.example:6432/kuma?sslmode=verify-full',
    'postgres://kuma@db.example/kuma?sslmode=verify-ca&sslrootcert=/etc/ca.pem',
    'postgres://kuma@db.example/kuma?sslmode=require',
    'postgres://kuma@[2001:db8::1]:5432/kuma',
  ])('%s is taken', (store) => {
    expect(problemsOf(store)).toBe('');
  });

  test.each([
    ['postgres://kuma:s3cret@a.example,b.example/kuma', 'one host'],
    ['postgres://kuma:s3cret@db.example/kuma?sslmode=prefer', 'sslmode of disable, require'],
    ['postgres://kuma:s3cret@db.example/kuma?sslmode=verify_full', 'sslmode of disable, require'],
    ['postgres://kuma:s3cret@db.example/kuma?sslmode=verify-ca', 'sslrootcert=FILE'],
    ['postgres://kuma:s3cret@a.example:1,b.example:2/kuma', 'postgres://USER'],
  ])('%s is refused, without the password', (store, words) => {
    expect(problemsOf(store)).toContain(words);
    expect(problemsOf(store)).not.toContain('s3cret');
  });
});

test.each(['http://127.0.0.1:5681/?mesh=a', 'https://cp.example?', 'https://cp.example/kuma#x'])(
  '--kuma-api %s is refused: paths are added to it',
  (url) => {
    const { problems } = resolveServeOptions({ flags: new Map([['kuma-api', [url]]]), env: {} });
    expect(problems.join()).toContain('no query');
  },
);

function problemsOfHttp(http: string): readonly string[] {
  return resolveServeOptions({ flags: new Map([['http', [http]]]), env: {} }).problems;
}

describe('--http', () => {
  test.each(['0.0.0.0:5691', '[::]:5691', 'fleet.example:5691', '127.0.0.1.example:5691'])(
    '%s is refused without a token',
    (http) => {
      expect(problemsOfHttp(http)).toEqual([
        `--http (KUMA_DEREGISTRAR_HTTP): any caller could see the fleet at ${http}: only for loopback, or with --http-token-file (KUMA_DEREGISTRAR_HTTP_TOKEN_FILE)`,
      ]);
    },
  );

  test('an invalid address is refused', () => {
    expect(problemsOfHttp(':5691')).toEqual([
      '--http (KUMA_DEREGISTRAR_HTTP): expected HOST:PORT, [IPV6]:PORT or unix:PATH: ":5691"',
    ]);
  });
});
