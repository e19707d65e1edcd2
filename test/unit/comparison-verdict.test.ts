import { describe, expect, test } from 'vitest';

import { type StopCost, worseThanAlone } from '../support/comparison/verdict.ts';

const ALONE: StopCost = {
  sent: 100,
  failed: 2,
  byFailure: { ECONNRESET: 2 },
  cutMs: 30_000,
  exitMs: 30_100,
};

describe('a stop with the agent is compared with one alone', () => {
  test.for([
    { what: 'the same', change: {}, worse: 0 },
    { what: 'fewer failures', change: { failed: 0 }, worse: 0 },
    { what: 'one more failure', change: { failed: 3 }, worse: 1 },
    { what: 'nothing was cut', change: { cutMs: undefined }, worse: 0 },
    { what: 'cut within what two processes are apart', change: { cutMs: 29_800 }, worse: 0 },
    { what: 'cut earlier', change: { cutMs: 29_600 }, worse: 1 },
    { what: 'ended within the allowance', change: { exitMs: 31_000 }, worse: 0 },
    { what: 'ended later', change: { exitMs: 31_200 }, worse: 1 },
    { what: 'all of it', change: { failed: 3, cutMs: 1_000, exitMs: 40_000 }, worse: 3 },
  ])('$what: $worse complaints', ({ change, worse }) => {
    const agent = { ...ALONE, ...change };
    expect(worseThanAlone({ bare: ALONE, agent }, { laterMs: 1_000 })).toHaveLength(worse);
  });

  test('a cut counts where nothing was cut alone', () => {
    const bare = { ...ALONE, cutMs: undefined };
    expect(worseThanAlone({ bare, agent: ALONE }, { laterMs: 1_000 })).toEqual([
      'cut after 30.0 s, alone after never',
    ]);
  });

  test('a limit of its own holds whatever kuma-dp alone takes', () => {
    expect(worseThanAlone({ bare: ALONE, agent: ALONE }, { laterMs: 1_000, withinMs: 4_000 })).toEqual([
      'ended after 30.1 s, wanted within 4.0 s',
    ]);
  });
});
