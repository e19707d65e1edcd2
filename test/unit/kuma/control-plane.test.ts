import { describe, expect, test } from 'vitest';

import { DEFAULT_FACTS, parseVersion, readFacts, refusesSameName } from '../../../kuma/control-plane.ts';
import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

const INDEX = { product: 'Kuma', version: '2.14.3', instanceId: 'cp-1' };

interface Intervals {
  readonly cache?: { readonly enabled: boolean; readonly expirationTime: string };
  readonly refresh?: string;
  readonly delay?: string;
  readonly hds?: unknown;
}

function config({ cache, refresh, delay, hds }: Intervals): unknown {
  return {
    mode: 'zone',
    store: { type: 'postgres', cache: cache ?? { enabled: true, expirationTime: '1s' } },
    xdsServer: {
      dataplaneConfigurationRefreshInterval: refresh ?? '1s',
      ...(delay === undefined ? {} : { dataplaneDeregistrationDelay: delay }),
    },
    dpServer: { port: 5678, ...(hds === undefined ? {} : { hds }) },
  };
}

describe('readFacts()', () => {
  test.for(RECORDED_VERSIONS)('of the control plane %s', (version) => {
    const index = recordedAnswer(version, 'index').body;
    const { instanceId, clusterId } = index as { readonly instanceId: string; readonly clusterId: string };
    expect(readFacts(index, recordedAnswer(version, 'config').body)).toEqual({
      version,
      instanceId,
      zoneName: 'z1',
      clusterId,
      mode: 'zone',
      propagationMs: 2_000,
      deregistrationDelayMs: 10_000,
      hdsDelayMs: 6_000,
    });
  });

  const ZONE = { multizone: { zone: { name: 'z1' } } };

  test.for([
    {
      name: 'both are said',
      index: { clusterId: 'c1' },
      config: ZONE,
      zone: { zoneName: 'z1', clusterId: 'c1' },
    },
    {
      name: 'a store in memory makes a new id at each start',
      index: { clusterId: 'c1' },
      config: { ...ZONE, store: { type: 'memory' } },
      zone: { zoneName: 'z1', clusterId: undefined },
    },
    {
      name: 'the configuration cannot be read',
      index: { clusterId: 'c1' },
      config: undefined,
      zone: { zoneName: undefined, clusterId: 'c1' },
    },
    {
      name: 'there is no id yet, and no name',
      index: { clusterId: '' },
      config: { multizone: { zone: { name: '' } } },
      zone: { zoneName: undefined, clusterId: undefined },
    },
  ])('which zone it is: $name', ({ index, config: given, zone }) => {
    expect(readFacts({ ...INDEX, ...index }, given)).toMatchObject(zone);
  });

  test.for<{ readonly name: string; readonly given: Intervals; readonly facts: object }>([
    {
      name: 'a store that caches nothing',
      given: { cache: { enabled: false, expirationTime: '1s' } },
      facts: { propagationMs: 1_000 },
    },
    {
      name: 'shorter intervals',
      given: { cache: { enabled: true, expirationTime: '200ms' }, refresh: '200ms' },
      facts: { propagationMs: 400 },
    },
    { name: 'a longer refresh interval', given: { refresh: '1m30s' }, facts: { propagationMs: 91_000 } },
    { name: 'no deregistration delay named', given: {}, facts: { deregistrationDelayMs: 10_000 } },
    {
      name: 'the deregistration delay switched off',
      given: { delay: '0s' },
      facts: { deregistrationDelayMs: 0 },
    },
    { name: 'no HDS named', given: {}, facts: { hdsDelayMs: undefined } },
    {
      name: 'HDS switched off',
      given: { hds: { enabled: false, interval: '5s' } },
      facts: { hdsDelayMs: undefined },
    },
    {
      name: 'HDS without check defaults',
      given: { hds: { enabled: true, interval: '3s' } },
      facts: { hdsDelayMs: 4_000 },
    },
    {
      name: 'HDS with its own check interval',
      given: { hds: { enabled: true, interval: '3s', checkDefaults: { interval: '500ms' } } },
      facts: { hdsDelayMs: 3_500 },
    },
  ])('$name', ({ given, facts }) => {
    expect(readFacts(INDEX, config(given))).toMatchObject(facts);
  });

  test.for<{ readonly name: string; readonly config: unknown }>([
    { name: 'absent', config: undefined },
    { name: 'HTML', config: '<html></html>' },
    { name: 'another program’s', config: { store: {} } },
    { name: 'with a duration that is none', config: config({ refresh: 'soon' }) },
    {
      name: 'with a number for a duration',
      config: { ...(config({}) as object), xdsServer: { dataplaneConfigurationRefreshInterval: 1 } },
    },
  ])("Kuma's defaults stand in for a config that is $name", ({ config: given }) => {
    expect(readFacts(INDEX, given)).toEqual({ ...DEFAULT_FACTS, version: '2.14.3', instanceId: 'cp-1' });
  });

  test.for<{ readonly name: string; readonly index: unknown }>([
    { name: 'nothing', index: undefined },
    { name: 'HTML', index: '<html></html>' },
    { name: 'an object without a version', index: { hello: 'world' } },
    { name: 'a version that is a number', index: { version: 2 } },
    { name: 'an array', index: [] },
  ])('$name is no index of a Kuma control plane', ({ index }) => {
    expect(readFacts(index, config({}))).toBeUndefined();
  });

  test('an index without an instance id is one', () => {
    expect(readFacts({ version: '2.7.0' }, undefined)).toMatchObject({
      version: '2.7.0',
      instanceId: undefined,
    });
  });
});

describe('parseVersion()', () => {
  test.for<{ readonly text: string | undefined; readonly version: readonly number[] | undefined }>([
    { text: '2.14.3', version: [2, 14, 3] },
    { text: 'v2.10.11', version: [2, 10, 11] },
    { text: '3.0.0-preview.v1', version: [3, 0, 0] },
    { text: '2.10', version: undefined },
    { text: 'unknown', version: undefined },
    { text: '', version: undefined },
    { text: undefined, version: undefined },
  ])('$text → $version', ({ text, version }) => {
    expect(parseVersion(text)).toEqual(version);
  });
});

describe('refusesSameName()', () => {
  test.for<{ readonly version: string | undefined; readonly refuses: boolean }>([
    { version: '1.8.1', refuses: false },
    { version: '2.6.99', refuses: false },
    { version: '2.7.11', refuses: false },
    { version: '2.7.12', refuses: true },
    { version: '2.7.26', refuses: true },
    { version: '2.8.6', refuses: false },
    { version: '2.8.7', refuses: true },
    { version: '2.9.3', refuses: false },
    { version: '2.9.4', refuses: true },
    { version: '2.10.0', refuses: true },
    { version: '2.10.1', refuses: true },
    { version: 'v2.14.3', refuses: true },
    { version: '3.0.0-preview', refuses: true },
    { version: 'unknown', refuses: true },
    { version: undefined, refuses: true },
  ])('$version: $refuses', ({ version, refuses }) => {
    expect(refusesSameName(version)).toBe(refuses);
  });
});
