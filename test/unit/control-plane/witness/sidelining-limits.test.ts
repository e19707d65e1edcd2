import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  admitSidelinings,
  WINDOW_MS,
  type LimitsView,
  type SideliningCandidate,
  type PastSidelining,
} from '../../../../control-plane/witness/sidelining-limits.pure.ts';
import type { DataplaneOverview } from '../../../../kuma/overview.ts';

const keyOf = (name: string) => ({ proxyType: 'dataplane', mesh: 'default', name }) as const;

function overview(name: string, service: string, state = 'Ready'): DataplaneOverview {
  const networking = {
    address: '10.0.0.1',
    inbound: [{ port: 80, state, tags: { 'kuma.io/service': service } }],
  };
  return {
    mesh: 'default',
    name,
    creationTime: undefined,
    modificationTime: undefined,
    labels: {},
    networking,
    resource: { type: 'Dataplane', mesh: 'default', name, networking },
    subscriptions: [],
    metadata: {},
  };
}

const fleetOf = (count: number, service = 'web') =>
  Array.from({ length: count }, (_, at) => overview(`${service}-${at + 1}`, service));
const candidate = (name: string, service = 'web'): SideliningCandidate => ({
  key: keyOf(name),
  services: [service],
});
const past = (name: string, given: Partial<PastSidelining> = {}): PastSidelining => ({
  ...candidate(name),
  beganAtMs: 0,
  isActive: true,
  ...given,
});
const admitted = (
  candidates: readonly SideliningCandidate[],
  view: Omit<LimitsView, 'isDoubted'>,
  doubted: readonly string[] = [],
): readonly string[] =>
  [...admitSidelinings(candidates, { ...view, isDoubted: (name) => doubted.includes(name) })]
    .filter(([, each]) => each.admitted)
    .map(([name]) => name.replace('default/', ''));

test('one of three goes, the second is more than half', () => {
  const view = { overviews: fleetOf(3), past: [], nowMs: 0 };
  expect(admitted([candidate('web-1'), candidate('web-2')], view)).toEqual(['web-1']);
});

test('one of two goes, the last one stays', () => {
  const view = { overviews: fleetOf(2), past: [], nowMs: 0 };
  expect(admitted([candidate('web-1')], view)).toEqual(['web-1']);
  expect(admitted([candidate('web-2')], { ...view, past: [past('web-1')] })).toEqual([]);
});

test('the last ready one of a service stays, although the mesh has others', () => {
  const overviews = [...fleetOf(6), overview('api-1', 'api'), overview('api-2', 'api', 'NotReady')];
  const view = { overviews, past: [], nowMs: 0 };
  expect(admitted([candidate('api-1', 'api')], view)).toEqual([]);
});

test('one that has lost its agent, and that no peer has reached since, is no ready one that would be left', () => {
  const view = { overviews: fleetOf(3), past: [], nowMs: 0 };
  expect(admitted([candidate('web-1')], view, ['default/web-1', 'default/web-2'])).toEqual(['web-1']);
  const all = ['default/web-1', 'default/web-2', 'default/web-3'];
  expect(admitted([candidate('web-1')], view, all)).toEqual([]);
});

test('what was sidelined counts for the window, what is sidelined counts for ever', () => {
  const overviews = fleetOf(4);
  const two = [candidate('web-3')];
  const over = { isActive: false, beganAtMs: 0 };
  const before = [past('web-1', over), past('web-2', over)];
  expect(admitted(two, { overviews, past: before, nowMs: WINDOW_MS - 1 })).toEqual([]);
  expect(admitted(two, { overviews, past: before, nowMs: WINDOW_MS })).toEqual(['web-3']);
  const active = [past('web-1'), past('web-2')];
  expect(admitted(two, { overviews, past: active, nowMs: 10 * WINDOW_MS })).toEqual([]);
});

test('of a fleet of any shape, no service loses its last ready one and no mesh more than half', () => {
  const services = fc.array(fc.constantFrom('web', 'api', 'db'), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(services, fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }), (given, lost) => {
      const overviews = given.map((service, at) => overview(`dp-${at}`, service));
      const candidates = given.flatMap((service, at) =>
        lost[at] === true ? [candidate(`dp-${at}`, service)] : [],
      );
      const out = new Set(admitted(candidates, { overviews, past: [], nowMs: 0 }));
      expect(out.size * 2).toBeLessThanOrEqual(given.length);
      for (const service of new Set(given)) {
        const names = given.flatMap((each, at) => (each === service ? [`dp-${at}`] : []));
        const left = names.filter((name) => !out.has(name));
        expect(left.length).toBeGreaterThan(0);
        expect((names.length - left.length) * 2).toBeLessThanOrEqual(names.length);
      }
    }),
    { numRuns: 2_000, seed: 15 },
  );
});
