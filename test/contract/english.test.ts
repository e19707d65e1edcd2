import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url);

/** Words that leave the actor out. Name the agent, the companion, the control plane, Envoy, kuma-dp, the operator or the caller. */
const NAMELESS = /\b(?:whoever|nobody|somebody|anybody|whose streams|of whom)\b/i;

/** The name of an account of Unix systems, and this list itself. */
const QUOTES = new Set(["  for (const wanted of ['postgres', 'nobody']) {"]);

function textFiles(): readonly string[] {
  return execFileSync('git', ['ls-files', '*.ts', '*.md', '*.html', '*.proto', '*.sh', '*.yaml'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((path) => path !== '' && path !== 'test/contract/english.test.ts');
}

describe('plain English', () => {
  test('every sentence of code, tests and pages names its actor', () => {
    const nameless = textFiles().flatMap((path) =>
      readFileSync(new URL(path, ROOT), 'utf8')
        .split('\n')
        .map((line, at) => ({ line, place: `${path}:${at + 1}` }))
        .filter(({ line }) => NAMELESS.test(line) && !QUOTES.has(line)),
    );
    expect(nameless).toEqual([]);
  });
});
