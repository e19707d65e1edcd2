import { describe, expect, test } from 'vitest';

import { drainFloorMs, settleMs } from '../../../../agent/object/settle.pure.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';

const HDS: ControlPlaneFacts = { ...DEFAULT_FACTS, hdsDelayMs: 6_000 };

describe('settleMs()', () => {
  test.for([
    { name: "with Kuma's defaults", propagationMs: 2_000, settles: 2_250 },
    { name: 'with both intervals at 200 ms', propagationMs: 400, settles: 650 },
    { name: 'with neither cache nor interval', propagationMs: 0, settles: 250 },
  ])('$name: $settles ms', ({ propagationMs, settles }) => {
    expect(settleMs({ ...DEFAULT_FACTS, propagationMs })).toBe(settles);
  });
});

describe('drainFloorMs()', () => {
  test.for([
    { name: 'gone: the peers have let go already', outcome: 'gone', facts: HDS, floorMs: 0 },
    { name: 'gone, HDS off: the same', outcome: 'gone', facts: DEFAULT_FACTS, floorMs: 0 },
    { name: 'kept: health checks, then propagation', outcome: 'kept', facts: HDS, floorMs: 8_250 },
    { name: 'kept, HDS off: nobody tells the peers', outcome: 'kept', facts: DEFAULT_FACTS, floorMs: 30_000 },
    { name: 'failed: nobody may be there to tell them', outcome: 'failed', facts: HDS, floorMs: 30_000 },
    { name: 'handed over: nor is it gone yet', outcome: 'handed over', facts: HDS, floorMs: 30_000 },
    { name: 'failed, HDS off: the same', outcome: 'failed', facts: DEFAULT_FACTS, floorMs: 30_000 },
  ] as const)('$name: $floorMs ms', ({ outcome, facts, floorMs }) => {
    expect(drainFloorMs(outcome, facts, 30_000)).toBe(floorMs);
  });

  test('is never more than the drain time that kuma-dp was given', () => {
    expect(drainFloorMs('kept', HDS, 5_000)).toBe(5_000);
  });
});
