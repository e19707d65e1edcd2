import { describe, expect, test } from 'vitest';

import type { Finding } from '../../../kernel/findings.ts';
import { DEFAULT_FACTS } from '../../../kuma/control-plane.ts';
import { judgeClock, judgeDefects, judgeMode, leaksOffline } from '../../../kuma/control-plane-findings.ts';

describe('leaksOffline()', () => {
  test.for<[string | undefined, boolean | undefined]>([
    ['2.6.0', true],
    ['2.7.13', true],
    ['2.7.14', false],
    ['2.8.8', true],
    ['2.8.99', true],
    ['2.9.5', true],
    ['2.9.6', false],
    ['2.10.1', true],
    ['v2.10.2', false],
    ['2.11.0', false],
    ['2.14.3', false],
    ['3.0.0-preview', false],
    ['0.0.0-preview.vlocal-build', false],
    ['1.8.0', true],
    ['dev', undefined],
    [undefined, undefined],
  ])('%s: %s', ([version, leaks]) => {
    expect(leaksOffline(version)).toBe(leaks);
  });
});

const FACTS = {
  ...DEFAULT_FACTS,
  version: '2.14.3',
  mode: 'zone',
  deregistrationDelayMs: 10_000,
  hdsDelayMs: 6_000,
};
const ALONE = { companion: false, agentOwns: false, paced: true };

describe('judgeDefects()', () => {
  test.for<
    [
      string,
      Partial<typeof FACTS> | { hdsDelayMs: undefined } | { deregistrationDelayMs: undefined },
      Partial<typeof ALONE>,
      readonly Finding['level'][],
    ]
  >([
    ['nothing known', {}, {}, ['ok', 'ok', 'ok']],
    ['a leak', { version: '2.10.1' }, {}, ['warning', 'ok', 'ok']],
    ['a leak with a companion', { version: '2.10.1' }, { companion: true }, ['ok', 'ok', 'ok']],
    ['an unknown version', { version: 'dev' }, {}, ['unseen', 'ok', 'ok']],
    ['a delay that is not said', { deregistrationDelayMs: undefined }, {}, ['ok', 'warning', 'ok']],
    ['starts that are not paced', {}, { paced: false }, ['ok', 'warning', 'ok']],
    [
      'starts that are not paced, and no delay',
      { deregistrationDelayMs: 0 },
      { paced: false },
      ['ok', 'ok', 'ok'],
    ],
    ['starts that need no pace', {}, { paced: false, agentOwns: true }, ['ok', 'ok', 'ok']],
    [
      'a version that accepts the name',
      { version: '2.9.3' },
      { paced: false, companion: true },
      ['ok', 'ok', 'ok'],
    ],
    ['HDS off', { hdsDelayMs: undefined }, {}, ['ok', 'ok', 'warning']],
    ['HDS off with a companion', { hdsDelayMs: undefined }, { companion: true }, ['ok', 'ok', 'warning']],
  ])('%s', ([, facts, precautions, levels]) => {
    const found = judgeDefects({ ...FACTS, ...facts }, { ...ALONE, ...precautions });
    expect(found.map(({ level }) => level)).toEqual(levels);
  });

  test('does not take a config that cannot be read for HDS being off', () => {
    const found = judgeDefects({ ...DEFAULT_FACTS, version: '2.14.3' }, ALONE);
    expect(found.at(-1)?.level).toBe('unseen');
  });
});

describe('judgeMode()', () => {
  test.for<[string | undefined, Finding['level']]>([
    ['zone', 'ok'],
    ['standalone', 'ok'],
    ['global', 'failure'],
    [undefined, 'warning'],
  ])('%s: %s', ([mode, level]) => {
    expect(judgeMode('it', { ...FACTS, mode }).level).toBe(level);
  });
});

describe('judgeClock()', () => {
  test.for<[number | undefined, Finding['level']]>([
    [0, 'ok'],
    [5_000, 'ok'],
    [-5_000, 'ok'],
    [5_001, 'warning'],
    [-5_001, 'warning'],
    [undefined, 'warning'],
  ])('%s ms apart: %s', ([apartMs, level]) => {
    expect(judgeClock(apartMs === undefined ? undefined : 1e12 + apartMs, 1e12).level).toBe(level);
  });
});
