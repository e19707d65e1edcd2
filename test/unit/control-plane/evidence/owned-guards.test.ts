import { describe, expect, test } from 'vitest';

import { judgeDeletion } from '../../../../control-plane/evidence/guards.pure.ts';
import { AROUND, CLEAR, DELETE, GRACE_MS, shown, stream, wait, type CaseRow } from './cases.ts';

const JUST_UP = 'the control plane or the companion has just started';

describe('a fallback of an object that its agent put', () => {
  const owned = { ...CLEAR.fallback, record: { ...CLEAR.fallback.record, owner: 'agent' as const } };
  const around = { ...AROUND, deregistrationDelayMs: 10_000 };
  const ENDED = shown({ subscriptions: [stream('cp-now', 60_000, 10_000)] });

  test.for<CaseRow>([
    {
      name: 'goes when the control plane would delete one of its own',
      given: { missingMs: 10_000, unchangedMs: 10_000, stored: ENDED },
      judgement: DELETE,
    },
    {
      name: 'and not before',
      given: { missingMs: 10_000, unchangedMs: 9_000, stored: ENDED },
      judgement: wait('evidence-too-young', 'silent for 9 s of 10 s', 1_000),
    },
    {
      name: 'waits for the grace where the control plane does not say how long it waits',
      given: { missingMs: 10_000, unchangedMs: 10_000, stored: ENDED, around: AROUND },
      judgement: wait('evidence-too-young', 'silent for 10 s of 15 s', 5_000),
    },
    {
      name: 'waits for the grace where the control plane waits longer',
      given: {
        missingMs: 10_000,
        unchangedMs: 10_000,
        stored: ENDED,
        around: { ...around, deregistrationDelayMs: 60_000 },
      },
      judgement: wait('evidence-too-young', 'silent for 10 s of 15 s', 5_000),
    },
    {
      name: 'waits for 5 s where the control plane does not wait',
      given: {
        missingMs: 4_000,
        unchangedMs: 4_000,
        stored: shown({ subscriptions: [stream('cp-now', 60_000, 4_000)] }),
        around: { ...around, deregistrationDelayMs: 0 },
      },
      judgement: wait('evidence-too-young', 'silent for 4 s of 5 s', 1_000),
    },
    {
      name: 'waits for two graces where no replica saw its stream end',
      given: { missingMs: 10_000, unchangedMs: 10_000, stored: ENDED, unseen: true },
      judgement: wait('evidence-too-young', 'silent for 10 s of 30 s', 20_000),
    },
    {
      name: 'waits for the grace where another owner put it',
      given: {
        missingMs: 10_000,
        unchangedMs: 10_000,
        stored: ENDED,
        record: { ...owned.record, owner: 'cp' },
      },
      judgement: wait('evidence-too-young', 'silent for 10 s of 15 s', 5_000),
    },
    {
      name: 'waits until this process has been up for the grace',
      given: {
        missingMs: 10_000,
        unchangedMs: 10_000,
        stored: ENDED,
        around: { ...around, steadyMs: GRACE_MS - 1 },
      },
      judgement: wait('probation', JUST_UP, 1),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...owned, around, ...given })).toEqual(judgement);
  });
});

test.for([
  [0, 500],
  [2_400, 800],
  [15_000, 5_000],
  [3_600_000, 5_000],
] as const)(
  'a stream that is open %d ms after the loss is looked at again after %d ms',
  ([missingMs, afterMs]) => {
    const stored = shown({ subscriptions: [stream('cp-now', 60_000)] });
    expect(judgeDeletion({ ...CLEAR.fallback, missingMs, stored })).toEqual(
      wait('subscription-online', 'connected to cp-now', afterMs),
    );
  },
);
