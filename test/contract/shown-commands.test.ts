import { describe, expect, test } from 'vitest';

import { inlineCodeOf, pages, typedCommandsOf } from '../support/documents.ts';
import { ownFlags, problemsOfShown } from '../support/shown-commands.ts';

const PAGES = pages();

/** Options of kuma-dp, kumactl, curl, our own scripts and other programs that the pages mention. */
const THEIRS: ReadonlySet<string> = new Set([
  'auth-type',
  'ca-cert-file',
  'cp-address',
  'cpu',
  'dataplane-file',
  'dataplane-token',
  'dataplane-var',
  'drain-time',
  'init',
  'kuma-dp-user',
  'mesh',
  'name',
  'no-block',
  'only',
  'pdeathsig',
  'prefix',
  'single-child',
  'skip-verify',
  'transparent-proxy',
  'valid-for',
]);

describe('the commands that a page shows', () => {
  test.for(PAGES)('$path: each one that is to be typed exists, with its options', ({ text }) => {
    expect(typedCommandsOf(text).flatMap(problemsOfShown)).toEqual([]);
  });

  test.for(PAGES)('$path: each one that is spoken of exists, though a value may be left out', ({ text }) => {
    const problems = inlineCodeOf(text).flatMap(problemsOfShown);
    expect(problems.filter((problem) => !problem.includes(': needs a value: '))).toEqual([]);
  });

  test.for(PAGES)('$path: an option that stands alone is one of ours, or known to be theirs', ({ text }) => {
    const alone = inlineCodeOf(text).flatMap((code) => /^--([a-z][a-z-]*)/.exec(code)?.[1] ?? []);
    expect(alone.filter((flag) => !ownFlags().has(flag) && !THEIRS.has(flag))).toEqual([]);
  });

  test('are found: there are dozens of them', () => {
    const shown = PAGES.flatMap(({ text }) => [...typedCommandsOf(text), ...inlineCodeOf(text)]);
    const ours = shown.filter((line) => /kuma-(dp-agent|deregistrar) [a-z]+/.test(line));
    expect(ours.length).toBeGreaterThan(40);
  });

  test.for([
    ['$ kuma-dp-agent drain --wiat', ['kuma-dp-agent drain: unknown option --wiat']],
    ['kuma-dp-agent dran', ['kuma-dp-agent has no command "dran"']],
    [
      'dist/bin/kuma-deregistrar serve --store',
      ['kuma-deregistrar serve: --store: needs a value: FILE|postgres://…'],
    ],
    ['ExecStop=-kuma-dp-agent drain --wait', []],
    ['kuma-dp-agent run -- kuma-dp run --anything', []],
    ['kuma-dp-agent: default/web-1: not in rotation yet', []],
  ] as const)('%s', ([line, problems]) => {
    expect(problemsOfShown(line)).toEqual(problems);
  });
});
