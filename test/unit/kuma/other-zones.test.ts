import { describe, expect, test } from 'vitest';

import { readFacts } from '../../../kuma/control-plane.ts';

const INDEX = { product: 'Kuma', version: '2.14.3', instanceId: 'cp-1' };

/** `GET /config` of a zone control plane of 2.14.3, as far as it matters here. */
function config(change: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    mode: 'zone',
    store: { cache: { enabled: true, expirationTime: '1s' } },
    xdsServer: { dataplaneConfigurationRefreshInterval: '1s' },
    multizone: {
      global: { kds: { refreshInterval: '1s' } },
      zone: {
        name: 'zone-2',
        globalAddress: 'grpcs://global:5685',
        kds: { refreshInterval: '1s' },
        ingressUpdateInterval: '1s',
      },
    },
    experimental: { kdsEventBasedWatchdog: { enabled: false, flushInterval: '5s' } },
    ...change,
  };
}

function zone(change: Readonly<Record<string, unknown>>): unknown {
  return config({ multizone: { global: { kds: { refreshInterval: '1s' } }, zone: change } });
}

describe('readFacts() of a federated zone', () => {
  test.for([
    { name: "Kuma's defaults", given: config(), ingressMs: 6_000, lastOfServiceMs: 8_000 },
    {
      name: 'event-based KDS: its flush interval for each leg',
      given: config({ experimental: { kdsEventBasedWatchdog: { enabled: true, flushInterval: '5s' } } }),
      ingressMs: 14_000,
      lastOfServiceMs: 16_000,
    },
    {
      name: 'a store that caches nothing',
      given: config({ store: { cache: { enabled: false, expirationTime: '1s' } } }),
      ingressMs: 3_000,
      lastOfServiceMs: 4_000,
    },
    {
      name: 'longer intervals',
      given: zone({
        globalAddress: 'grpcs://g',
        kds: { refreshInterval: '3s' },
        ingressUpdateInterval: '2s',
      }),
      ingressMs: 8_000,
      lastOfServiceMs: 11_000,
    },
    {
      name: 'intervals that it does not name',
      given: config({ multizone: { zone: { globalAddress: 'grpcs://g' } }, experimental: undefined }),
      ingressMs: 6_000,
      lastOfServiceMs: 8_000,
    },
  ])('$name', ({ given, ingressMs, lastOfServiceMs }) => {
    expect(readFacts(INDEX, given)?.otherZones).toEqual({ ingressMs, lastOfServiceMs });
  });

  test.for([
    { name: 'no global control plane', given: zone({ name: 'zone-2', globalAddress: '' }) },
    { name: 'none named', given: zone({ name: 'zone-2' }) },
    { name: 'nothing about zones', given: config({ multizone: undefined }) },
    { name: 'an unreadable configuration', given: undefined },
  ])('not federated: $name', ({ given }) => {
    const facts = readFacts(INDEX, given);
    expect(facts).toMatchObject({ propagationMs: 2_000 });
    expect(facts?.otherZones).toBeUndefined();
  });
});
