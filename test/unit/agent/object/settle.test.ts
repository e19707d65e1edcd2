import { describe, expect, test } from 'vitest';

import { settleMs } from '../../../../agent/object/settle.pure.ts';
import { DEFAULT_FACTS } from '../../../../kuma/control-plane.ts';

describe('settleMs()', () => {
  test.for([
    { name: "with Kuma's defaults", propagationMs: 2_000, settles: 2_250 },
    { name: 'with both intervals at 200 ms', propagationMs: 400, settles: 650 },
    { name: 'with neither cache nor interval', propagationMs: 0, settles: 250 },
  ])('$name: $settles ms', ({ propagationMs, settles }) => {
    expect(settleMs({ ...DEFAULT_FACTS, propagationMs })).toBe(settles);
  });
});
