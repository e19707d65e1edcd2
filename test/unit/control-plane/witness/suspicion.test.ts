import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { LossCause } from '../../../../control-plane/witness/loss.pure.ts';
import {
  lossesAround,
  isAccusing,
  isRestorable,
  judgeSuspicion,
  OWN,
  type TestimonyFinding,
  type Round,
  type Suspicion,
  type Testimony,
} from '../../../../control-plane/witness/suspicion.pure.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';
const C = '10.0.0.3';

const says = (
  witness: string,
  finding: TestimonyFinding,
  siblings: readonly string[] = ['web'],
): Testimony => ({
  witness,
  finding,
  siblings,
});

function roundAt(startedMs: number, testimonies: readonly Testimony[], given: Partial<Round> = {}): Round {
  return { startedMs, isClosed: true, testimonies, isOffline: true, ...given };
}

function suspicion(given: Partial<Suspicion> = {}): Suspicion {
  return {
    cause: 'closed',
    lostMs: 0,
    nowMs: 1_000,
    rounds: [],
    hasOtherAgents: true,
    companionReachedIt: false,
    services: ['web'],
    losses: { recent: 1, attachedBefore: 10, attachedNow: 9 },
    ...given,
  };
}

const stepOf = (given: Partial<Suspicion>) => judgeSuspicion(suspicion(given)).step;

/** So many rounds of one answer, so far apart. */
function many(
  count: number,
  everyMs: number,
  ...[testimonies, given = {}]: readonly [readonly Testimony[], Partial<Round>?]
) {
  return Array.from({ length: count }, (_, at) => roundAt(at * everyMs, testimonies, given));
}

const REFUSED = [says(A, 'refused'), says(B, 'refused')];
const SILENT = [says(A, 'silent'), says(B, 'silent')];

describe('rule 4: any witness that reaches it keeps it', () => {
  test('it is asked about again after 0.3 s, doubling to 30 s', () => {
    const pauses = Array.from({ length: 10 }, (_, at) => {
      const rounds = many(at + 1, 1_000, [says(A, 'reached'), says(B, 'refused')]);
      const step = judgeSuspicion(suspicion({ rounds, nowMs: 20_000 }));
      return step.step === 'keep' ? step.atMs - at * 1_000 : step.step;
    });
    expect(pauses).toEqual([300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 30_000, 30_000, 30_000]);
  });

  test('earlier accusations no longer count', () => {
    const rounds = [roundAt(0, REFUSED), roundAt(300, [says(A, 'reached')]), roundAt(600, REFUSED)];
    expect(stepOf({ rounds })).toBe('ask');
    expect(stepOf({ rounds: [...rounds, roundAt(900, REFUSED)] })).toBe('sideline');
  });

  test('a witness that reaches it counts before the others have answered', () => {
    const open = roundAt(300, [says(A, 'reached')], { isClosed: false });
    expect(stepOf({ rounds: [roundAt(0, REFUSED), open] })).toBe('keep');
  });

  test('it is given up after ten minutes', () => {
    expect(stepOf({ nowMs: 599_999 })).toBe('ask');
    expect(stepOf({ nowMs: 600_000 })).toBe('give up');
  });
});

describe('rule 5: no witness reached it', () => {
  test.for<{ readonly name: string; readonly given: Partial<Suspicion>; readonly step: string }>([
    { name: 'no round yet', given: {}, step: 'ask' },
    { name: 'one round', given: { rounds: many(1, 300, REFUSED) }, step: 'ask' },
    { name: 'two rounds that are refused', given: { rounds: many(2, 300, REFUSED) }, step: 'sideline' },
    {
      name: 'two rounds of one witness',
      given: { rounds: many(2, 300, [says(A, 'refused')]) },
      step: 'keep',
    },
    {
      name: 'two rounds of one witness and one that is unable',
      given: { rounds: many(2, 300, [says(A, 'refused'), says(B, 'unable')]) },
      step: 'keep',
    },
    {
      name: 'one witness and the companion, which reached it before',
      given: {
        rounds: many(2, 300, [says(A, 'refused'), says(OWN, 'refused')]),
        companionReachedIt: true,
      },
      step: 'sideline',
    },
    {
      name: 'one witness and the companion, which never reached it',
      given: { rounds: many(2, 300, [says(A, 'refused'), says(OWN, 'refused')]) },
      step: 'keep',
    },
    {
      name: 'two witnesses, and the companion, which reached it before, is unable',
      given: { rounds: many(2, 300, [...REFUSED, says(OWN, 'unable')]), companionReachedIt: true },
      step: 'keep',
    },
    {
      name: 'the companion alone, where other agents are',
      given: { rounds: many(5, 300, [says(OWN, 'refused')]), companionReachedIt: true },
      step: 'keep',
    },
    {
      name: 'the companion alone, where no other agent is, in two rounds',
      given: {
        rounds: many(2, 300, [says(OWN, 'refused')]),
        companionReachedIt: true,
        hasOtherAgents: false,
      },
      step: 'ask',
    },
    {
      name: 'the companion alone, where no other agent is, in three rounds',
      given: {
        rounds: many(3, 300, [says(OWN, 'refused')]),
        companionReachedIt: true,
        hasOtherAgents: false,
      },
      step: 'sideline',
    },
    {
      name: 'silent after a stream that went dark',
      given: { cause: 'dark', rounds: many(2, 300, SILENT) },
      step: 'sideline',
    },
    {
      name: 'silent after a stream that was closed, in two rounds',
      given: { rounds: many(2, 300, SILENT) },
      step: 'ask',
    },
    {
      name: 'silent after a stream that was closed, in four rounds over 6 s, shown offline',
      given: { rounds: many(4, 2_000, SILENT), nowMs: 7_000 },
      step: 'sideline',
    },
    {
      name: 'silent after a stream that was closed, in four rounds over 1 s',
      given: { rounds: many(4, 300, SILENT), nowMs: 7_000 },
      step: 'ask',
    },
    {
      name: 'silent after a stream that was closed, while the control plane shows it online',
      given: { rounds: many(4, 2_000, SILENT, { isOffline: false }), nowMs: 7_000 },
      step: 'ask',
    },
    {
      name: 'silent after a stream that was closed, and the control plane does not say',
      given: { rounds: many(4, 2_000, SILENT, { isOffline: undefined }), nowMs: 7_000 },
      step: 'ask',
    },
    {
      name: 'silent after a replica was lost, in four rounds over 6 s',
      given: { cause: 'replica-gone', rounds: many(4, 2_000, SILENT), nowMs: 7_000 },
      step: 'ask',
    },
    {
      name: 'silent after a replica was lost, in four rounds over 30 s',
      given: { cause: 'replica-gone', rounds: many(4, 10_000, SILENT), nowMs: 31_000 },
      step: 'sideline',
    },
    {
      name: 'refused after a replica was lost',
      given: { cause: 'replica-gone', rounds: many(2, 300, REFUSED) },
      step: 'sideline',
    },
    {
      name: 'one is refused and one hears nothing',
      given: { rounds: many(2, 300, [says(A, 'refused'), says(B, 'silent')]) },
      step: 'ask',
    },
    {
      name: 'silent after pings that were not answered',
      given: { cause: 'pinged-out', rounds: many(4, 10_000, SILENT), nowMs: 60_000 },
      step: 'give up',
    },
  ])('$name', ({ given, step }) => {
    expect(stepOf(given)).toBe(step);
  });

  test('two that agree wait 100 ms for the third', () => {
    const open = (settledMs: number) => roundAt(300, REFUSED, { isClosed: false, settledMs });
    const rounds = [roundAt(0, REFUSED), open(700)];
    expect(judgeSuspicion(suspicion({ rounds, nowMs: 799 }))).toMatchObject({ step: 'wait', untilMs: 800 });
    expect(judgeSuspicion(suspicion({ rounds, nowMs: 800 }))).toMatchObject({ step: 'sideline' });
  });

  test('two rounds begin 300 ms apart, whether the first has ended or not', () => {
    const open = roundAt(0, [], { isClosed: false });
    expect(judgeSuspicion(suspicion({ rounds: [open], nowMs: 100 }))).toMatchObject({
      step: 'ask',
      atMs: 300,
    });
    const both = [open, { ...open, startedMs: 300 }];
    expect(judgeSuspicion(suspicion({ rounds: both, nowMs: 400 })).step).toBe('wait');
  });
});

describe('rule 6: more than two losses within 30 s', () => {
  const rounds = many(2, 300, REFUSED);
  test.for<{ readonly name: string; readonly given: Partial<Suspicion>; readonly step: string }>([
    {
      name: 'two losses, though no other agent is attached',
      given: { losses: { recent: 2, attachedBefore: 2, attachedNow: 0 } },
      step: 'sideline',
    },
    {
      name: 'three of ten, and a sibling was reached',
      given: { losses: { recent: 3, attachedBefore: 10, attachedNow: 7 } },
      step: 'sideline',
    },
    {
      name: 'half of those that were attached are gone',
      given: { losses: { recent: 5, attachedBefore: 10, attachedNow: 5 } },
      step: 'keep',
    },
    {
      name: 'no sibling was reached in one of the rounds',
      given: {
        losses: { recent: 3, attachedBefore: 10, attachedNow: 7 },
        rounds: [roundAt(0, REFUSED), roundAt(300, [says(A, 'refused', []), says(B, 'refused', [])])],
      },
      step: 'keep',
    },
    {
      name: 'of one of its services no sibling was reached',
      given: { losses: { recent: 3, attachedBefore: 10, attachedNow: 7 }, services: ['web', 'api'] },
      step: 'keep',
    },
  ])('$name: $step', ({ given, step }) => {
    expect(stepOf({ rounds, ...given })).toBe(step);
  });
});

describe('rule 9: a sidelined one is reached', () => {
  test('in two rounds in a row, that have ended', () => {
    const reached = [says(A, 'reached')];
    expect(isRestorable(many(1, 300, reached))).toBe(false);
    expect(isRestorable(many(2, 300, reached))).toBe(true);
    expect(isRestorable([roundAt(0, reached), roundAt(300, REFUSED)])).toBe(false);
    expect(isRestorable([roundAt(0, reached), roundAt(300, reached, { isClosed: false })])).toBe(false);
  });
});

describe('whatever the witnesses say', () => {
  const finding = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom<TestimonyFinding>('refused', 'silent') },
    { weight: 1, arbitrary: fc.constantFrom<TestimonyFinding>('reached', 'unable') },
  );
  const testimony = fc.record({
    witness: fc.constantFrom(A, B, C, OWN),
    finding,
    siblings: fc.subarray(['web', 'api']),
  });
  const round = fc.record({
    gapMs: fc.integer({ min: 1, max: 12_000 }),
    isClosed: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, fc.constant(false)),
    testimonies: fc.uniqueArray(testimony, { selector: ({ witness }) => witness, maxLength: 4 }),
    isOffline: fc.constantFrom(true, false, undefined),
  });
  const cases = fc.record({
    cause: fc.constantFrom<LossCause>('closed', 'dark', 'pinged-out', 'replica-gone'),
    rounds: fc.array(round, { maxLength: 8 }).map((given) => {
      let startedMs = 0;
      return given.map(({ gapMs, ...rest }): Round => ({ ...rest, startedMs: (startedMs += gapMs) }));
    }),
    afterMs: fc.integer({ min: 0, max: 40_000 }),
    hasOtherAgents: fc.boolean(),
    companionReachedIt: fc.boolean(),
    services: fc.subarray(['web', 'api']),
    losses: fc.record({
      recent: fc.integer({ min: 0, max: 6 }),
      attachedBefore: fc.integer({ min: 0, max: 10 }),
      attachedNow: fc.integer({ min: 0, max: 10 }),
    }),
  });

  test('what is sidelined was reached by no witness since it was accused, by two or by the companion alone', () => {
    let sidelined = 0;
    fc.assert(
      fc.property(cases, ({ afterMs, ...given }) => {
        const nowMs = (given.rounds.at(-1)?.startedMs ?? 0) + afterMs;
        const { step } = judgeSuspicion({ ...given, lostMs: 0, nowMs });
        if (step !== 'sideline') return;
        sidelined += 1;
        expect(objectionsTo(given)).toEqual([]);
      }),
      { numRuns: 4_000, seed: 15 },
    );
    expect(sidelined).toBeGreaterThan(20);
  });
});

/** The objections to a sidelining, written otherwise than the rules. */
function objectionsTo({
  cause,
  rounds,
  hasOtherAgents,
  companionReachedIt,
  losses,
}: Pick<
  Suspicion,
  'cause' | 'rounds' | 'hasOtherAgents' | 'companionReachedIt' | 'losses'
>): readonly string[] {
  const last = rounds.slice(-2).flatMap(({ testimonies }) => testimonies);
  const voices = new Set(
    rounds.flatMap(({ testimonies }) => testimonies.filter(isAccusing).map(({ witness }) => witness)),
  );
  const objections: Readonly<Record<string, boolean>> = {
    'its stream was pinged out': cause === 'pinged-out',
    'fewer than two rounds': rounds.length < 2,
    'a witness reached it': last.some(({ finding }) => finding === 'reached'),
    'no agent accuses it': hasOtherAgents && ![...voices].some((each) => each !== OWN),
    'the companion is no witness': !hasOtherAgents && !companionReachedIt,
    'the companion reached it before and does not accuse it': companionReachedIt && !voices.has(OWN),
    'too many are lost': losses.recent > 2 && losses.attachedNow * 2 <= losses.attachedBefore,
  };
  return Object.keys(objections).filter((each) => objections[each]);
}

describe('lossesAround()', () => {
  const time = fc.integer({ min: 0, max: 200_000 });

  test('counts those within 30 s of the loss, and those lost since', () => {
    fc.assert(
      fc.property(time, fc.array(time, { maxLength: 40 }), fc.nat(50), (at, losses, attached) => {
        const lostAtMs = losses.toSorted((a, b) => a - b);
        const since = losses.filter((each) => each >= at - 30_000);
        expect(lossesAround(at, { attached, lostAtMs })).toEqual({
          recent: since.filter((each) => each <= at + 30_000).length,
          attachedBefore: attached + since.length,
          attachedNow: attached,
        });
      }),
    );
  });
});
