import { describe, expect, test } from 'vitest';

import { judgeDeletion, type DeletionCase } from '../../../../control-plane/evidence/guards.pure.ts';
import { AROUND, CLEAR, DELETE, GRACE_MS, shown, stream, wait, type CaseRow } from './cases.ts';

const DOUBTFUL = { ...AROUND, doubtfulInstances: new Set(['cp-b']) };

test.for(['requested', 'fallback', 'sweep'] as const)(
  '%s: nothing is deleted in another zone, or before it is known which one this is',
  (cause) => {
    const { around } = CLEAR[cause];
    const judged = (zone: DeletionCase['around']['zone']) =>
      judgeDeletion({ ...CLEAR[cause], around: { ...around, zone } });
    expect(judged({ kind: 'foreign', reason: 'the store belongs to zone east' })).toEqual(
      wait('not-zone-cp', 'the store belongs to zone east', 5_000),
    );
    expect(judged({ kind: 'unchecked' })).toEqual(
      wait('probation', 'the companion does not know its zone yet', 5_000),
    );
  },
);

describe('a fallback, of which something cannot be known', () => {
  test.for<CaseRow>([
    {
      name: 'no replica saw its stream end: it has a grace more to attach elsewhere',
      given: { unseen: true, around: AROUND },
      judgement: wait('evidence-too-young', 'silent for 15 s of 30 s', GRACE_MS),
    },
    {
      name: 'the same, after both graces',
      given: { unseen: true, missingMs: 2 * GRACE_MS, unchangedMs: 2 * GRACE_MS, around: AROUND },
      judgement: DELETE,
    },
    {
      name: 'a stream at an instance that was never seen to end, however old',
      given: { stored: shown({ subscriptions: [stream('cp-b', 1_800_000)] }) },
      judgement: wait('subscription-online', 'connected to cp-b, which was never seen to end', 5_000),
    },
    {
      name: 'its last stream was at an instance that cannot be asked',
      given: { stored: shown({ subscriptions: [stream('cp-b', 60_000, 20_000)] }), around: DOUBTFUL },
      judgement: wait('unknown-insight', 'its last stream was at cp-b, which does not answer', 5_000),
    },
    {
      name: 'an earlier stream was at an instance that cannot be asked',
      given: {
        stored: shown({ subscriptions: [stream('cp-b', 90_000, 80_000), stream('cp-now', 60_000, 20_000)] }),
        around: DOUBTFUL,
      },
      judgement: DELETE,
    },
    {
      name: 'the control plane’s clock was set ahead a moment ago',
      given: { clockSteadyMs: 4_000 },
      judgement: wait('evidence-too-young', 'offline for 4 s of 15 s', 11_000),
    },
  ])('$name', ({ given, judgement }) => {
    expect(judgeDeletion({ ...CLEAR.fallback, ...given })).toEqual(judgement);
  });
});

test('a stream that looks older than the request may be younger, if the control plane’s clock was set ahead since', () => {
  const gone = { missingMs: 60_000, pendingMs: 60_000 };
  expect(judgeDeletion({ ...CLEAR.requested, ...gone })).toEqual(DELETE);
  expect(judgeDeletion({ ...CLEAR.requested, ...gone, clockSteadyMs: 30_000 })).toEqual(
    wait('subscription-online', 'connected to cp-now', 5_000),
  );
});
