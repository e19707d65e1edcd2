import { assert, constantFrom, nat, property, record as recordOf } from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { DataplaneRecord, SideliningRecord } from '../../../../control-plane/records.pure.ts';
import { judgeSidelining } from '../../../../control-plane/witness/sidelining.pure.ts';
import { shown } from '../evidence/cases.ts';

const KEY = { proxyType: 'dataplane', mesh: 'default', name: 'web-1' } as const;
const SIDELINING: SideliningRecord = {
  key: KEY,
  epoch: 7,
  lostAtMs: 1_000,
  incarnation: '',
  address: undefined,
  hasNoRecord: false,
  services: ['web'],
  reason: '10.0.0.2: silent',
  stage: 'outstanding',
  beganAtMs: 2_000,
  dueAtMs: 2_000,
};
const LOST = { key: KEY, epoch: 7, state: 'lost', lostAtMs: 1_000 } as DataplaneRecord;

function stepOf({
  afterMs = 100,
  record = LOST,
  isReturning = false,
  isBarred = false,
}: {
  readonly afterMs?: number;
  readonly record?: DataplaneRecord;
  readonly isReturning?: boolean;
  readonly isBarred?: boolean;
}) {
  const nowMs = SIDELINING.beganAtMs + afterMs;
  const judged = judgeSidelining({
    sidelining: SIDELINING,
    record,
    stored: shown(),
    isReturning,
    nowMs,
    isOn: true,
    isBarred,
  });
  return judged.step === 'note' ? judged.sidelining.stage : judged.step;
}

describe('a dataplane that no witness reached', () => {
  test.for([
    { afterMs: 19_999, step: 'sideline' },
    { afterMs: 20_000, step: 'released' },
  ])('is judged by evidence that is $afterMs ms old: $step', ({ afterMs, step }) => {
    expect(stepOf({ afterMs })).toBe(step);
  });

  test('stays in rotation where the limits forbid it by now', () => {
    expect(stepOf({ isBarred: true })).toBe('released');
  });

  test.for([
    { name: 'came back', record: { ...LOST, state: 'attached' } },
    { name: 'was lost once more', record: { ...LOST, lostAtMs: 1_500 } },
    { name: 'was replaced', record: { ...LOST, epoch: 8 } },
  ] as const)('stays in rotation where it $name', ({ record }) => {
    expect(stepOf({ record })).toBe('released');
  });

  test('is never sidelined while its agent waits for the store to record that it is back', () => {
    const states = constantFrom('lost', 'leaving', 'swept', 'unseen', 'attached');
    const records = recordOf({
      state: states,
      epoch: constantFrom(7, 8),
      lostAtMs: constantFrom(1_000, 1_500),
    });
    assert(
      property(records, nat(40_000), (record, afterMs) => {
        expect(stepOf({ record: { ...LOST, ...record }, afterMs, isReturning: true })).not.toBe('sideline');
      }),
    );
    expect(stepOf({ isReturning: true })).toBe('outstanding');
    expect(stepOf({ isReturning: false })).toBe('sideline');
  });
});
