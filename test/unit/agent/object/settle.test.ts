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

describe('settleMs() of a federated zone', () => {
  const facts = { ...DEFAULT_FACTS, otherZones: { ingressMs: 6_000, lastOfServiceMs: 8_000 } };

  test.for([
    { name: 'a dataplane with siblings', proxyType: 'dataplane', lastOfService: false, settles: 2_250 },
    { name: 'the last of its service', proxyType: 'dataplane', lastOfService: true, settles: 8_250 },
    { name: 'a zone ingress', proxyType: 'ingress', lastOfService: false, settles: 6_250 },
    {
      name: 'a zone egress: only its own zone uses it',
      proxyType: 'egress',
      lastOfService: false,
      settles: 2_250,
    },
  ] as const)('$name: $settles ms', ({ proxyType, lastOfService, settles }) => {
    expect(settleMs(facts, { proxyType, lastOfService })).toBe(settles);
    expect(settleMs(DEFAULT_FACTS, { proxyType, lastOfService })).toBe(2_250);
  });
});
