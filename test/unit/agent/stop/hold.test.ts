import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { EnvoyUse } from '../../../../agent/envoy/envoy-use.pure.ts';
import {
  describeHold,
  hasExternalSenders,
  holdOf,
  latestEndMs,
  readinessLeadMs,
  type ApplicationEvidence,
  type HoldCause,
  type HoldKnowledge,
} from '../../../../agent/stop/hold.pure.ts';

const NEVER = Number.NEGATIVE_INFINITY;
const NOTHING = { requests: 0, connections: 0, begun: 0 };
const IDLE: EnvoyUse = {
  inbound: NOTHING,
  outbound: { ...NOTHING, open: [], receivedBytes: 0 },
  quietSinceMs: 0,
  lastCallMs: NEVER,
  movedAtMs: NEVER,
};
const UNKNOWN: ApplicationEvidence = { ports: 'unknown', refusedAtFirst: false, called: false };
const LISTENS: ApplicationEvidence = { ports: 'answer', refusedAtFirst: false, called: true };
const REFUSES: ApplicationEvidence = { ports: 'refuse', refusedAtFirst: false, called: true };

/** A stop that began at 0, 10 s ago: deregistered, settled after 2.25 s, Envoy is idle. */
const AT_10S: HoldKnowledge = {
  nowMs: 10_000,
  stopBeganAtMs: 0,
  toldAtMs: 2_250,
  settledAtMs: 2_250,
  drainTimeMs: 30_000,
  proxy: 'sidecar',
  envoy: IDLE,
  application: UNKNOWN,
  deregistration: 'gone',
  healthCheckMs: undefined,
  peersTold: false,
  silentControlPlanes: [],
  onlyProxyReplaced: false,
  outboundHold: 'auto',
  externalDrainMs: undefined,
};
const KINDS = ['sidecar', 'delegated gateway', 'builtin gateway', 'zone ingress', 'zone egress'] as const;
/** The end of kuma-dp alone, and a moment more. */
const END = 30_100;

function inbound(requests: number, connections = 0): EnvoyUse {
  return { ...IDLE, inbound: { requests, connections, begun: 5 }, quietSinceMs: undefined };
}

function outbound(change: Partial<EnvoyUse['outbound']>, rest: Partial<EnvoyUse> = {}): EnvoyUse {
  return { ...IDLE, outbound: { ...IDLE.outbound, ...change }, ...rest };
}

function pool(connections: number): EnvoyUse {
  return outbound({ open: [{ listener: 'outbound:127.0.0.1:50000', connections }] });
}

describe('holdOf()', () => {
  test.for<{
    readonly name: string;
    readonly known: Partial<HoldKnowledge>;
    readonly cause: HoldCause | undefined;
    readonly untilMs?: number;
  }>([
    { name: 'Envoy is idle', known: {}, cause: undefined },
    {
      name: 'the plain stop: settled, 500 ms of quiet are not over',
      known: { nowMs: 2_700, envoy: { ...IDLE, quietSinceMs: 2_250 } },
      cause: 'quiet',
      untilMs: 2_750,
    },
    {
      name: 'the plain stop: they are',
      known: { nowMs: 2_750, envoy: { ...IDLE, quietSinceMs: 2_250 } },
      cause: undefined,
    },
    { name: 'a request of a peer', known: { envoy: inbound(1) }, cause: 'requests', untilMs: END },
    { name: 'an endless download', known: { envoy: inbound(1), nowMs: END - 1 }, cause: 'requests' },
    {
      name: 'an endless download ends with kuma-dp',
      known: { envoy: inbound(1), nowMs: END },
      cause: undefined,
    },
    { name: 'a database connection from a peer', known: { envoy: inbound(0, 1) }, cause: 'requests' },
    {
      name: 'a delegated gateway that goes on for 10 s: its calls in progress',
      known: { proxy: 'delegated gateway', envoy: outbound({ requests: 3 }) },
      cause: 'requests',
      untilMs: END,
    },
    {
      name: 'a delegated gateway that goes on for 10 s: between two calls, its pool is open',
      known: { proxy: 'delegated gateway', envoy: pool(2) },
      cause: 'application-connections',
      untilMs: END,
    },
    {
      name: 'a worker with a new connection for each call each second, its port answers',
      known: { application: LISTENS },
      cause: 'application-alive',
      untilMs: END,
    },
    {
      name: 'a worker with an unknown port, its last call a second ago',
      known: { envoy: { ...IDLE, lastCallMs: 9_000 } },
      cause: 'application-silent',
      untilMs: 14_000,
    },
    {
      name: 'a worker that closed its port and calls each four seconds',
      known: { application: REFUSES, envoy: { ...IDLE, lastCallMs: 6_500 } },
      cause: 'application-silent',
      untilMs: 11_500,
    },
    {
      name: 'a worker that ended 5 s ago',
      known: { application: REFUSES, envoy: { ...IDLE, lastCallMs: 5_000 } },
      cause: undefined,
    },
    {
      name: 'an application that called before the stop and was stopped first',
      known: {
        nowMs: 2_750,
        application: { ports: 'refuse', refusedAtFirst: true, called: true },
      },
      cause: undefined,
    },
    {
      name: 'an application whose port refused, but which calls on',
      known: {
        nowMs: 2_750,
        envoy: { ...IDLE, lastCallMs: 2_000 },
        application: { ports: 'refuse', refusedAtFirst: true, called: true },
      },
      cause: 'application-silent',
      untilMs: 7_000,
    },
    {
      name: 'an application that listens and has made no call within the drain time',
      known: { application: { ...LISTENS, called: false } },
      cause: undefined,
    },
    {
      name: 'calls of 4.5 s in flight, none new',
      known: { envoy: outbound({ requests: 23, open: [{ listener: 'x', connections: 23 }] }) },
      cause: 'requests',
      untilMs: END,
    },
    {
      name: '500 idle outbound connections that never end',
      known: { envoy: pool(500) },
      cause: 'application-connections',
      untilMs: END,
    },
    { name: 'the same after the drain time', known: { envoy: pool(500), nowMs: END }, cause: undefined },
    {
      name: 'a restart of the proxy: idle connections do not hold',
      known: { envoy: pool(500), onlyProxyReplaced: true, application: LISTENS },
      cause: undefined,
    },
    {
      name: 'a restart of the proxy: calls in progress do',
      known: { envoy: outbound({ requests: 2 }), onlyProxyReplaced: true, application: LISTENS },
      cause: 'requests',
      untilMs: END,
    },
    {
      name: 'a restart of the proxy: an outbound connection that carries bytes does',
      known: { envoy: outbound({ connections: 1 }, { movedAtMs: 9_000 }), onlyProxyReplaced: true },
      cause: 'requests',
    },
    {
      name: 'a restart of the proxy: one that has carried none for 5 s does not',
      known: {
        envoy: outbound({ connections: 1, open: [{ listener: 'x', connections: 1 }] }, { movedAtMs: 5_000 }),
        onlyProxyReplaced: true,
      },
      cause: undefined,
    },
    {
      name: '--outbound-hold 0s: as a restart',
      known: { envoy: pool(1), outboundHold: 0 },
      cause: undefined,
    },
    {
      name: '--outbound-hold 12s: until then',
      known: { envoy: pool(1), outboundHold: 12_000 },
      cause: 'application-connections',
      untilMs: 12_000,
    },
    { name: '--outbound-hold 9s: over', known: { envoy: pool(1), outboundHold: 9_000 }, cause: undefined },
    {
      name: '--outbound-hold beyond the drain time: kuma-dp ends',
      known: { envoy: pool(1), outboundHold: 300_000 },
      cause: 'application-connections',
      untilMs: END,
    },
    {
      name: 'a builtin gateway behind a load balancer',
      known: { proxy: 'builtin gateway', toldAtMs: 0 },
      cause: 'external-senders',
      untilMs: 30_000,
    },
    {
      name: 'a builtin gateway, --external-drain 12s',
      known: { proxy: 'builtin gateway', toldAtMs: 0, externalDrainMs: 12_000 },
      cause: 'external-senders',
      untilMs: 12_000,
    },
    {
      name: 'a builtin gateway, --external-drain 12s, over: until idle',
      known: { proxy: 'builtin gateway', toldAtMs: 0, externalDrainMs: 9_000, envoy: inbound(1) },
      cause: 'requests',
      untilMs: END,
    },
    {
      name: 'a builtin gateway, --external-drain 60s',
      known: { proxy: 'builtin gateway', externalDrainMs: 60_000, nowMs: 50_000 },
      cause: 'external-senders',
      untilMs: 60_000,
    },
    {
      name: 'a zone ingress',
      known: { proxy: 'zone ingress', toldAtMs: 0 },
      cause: 'external-senders',
      untilMs: 30_000,
    },
    { name: 'a zone egress: its zone is told', known: { proxy: 'zone egress' }, cause: undefined },
    {
      name: 'a sidecar that is told of clients outside the mesh',
      known: { externalDrainMs: 15_000 },
      cause: 'external-senders',
      untilMs: 15_000,
    },
    {
      name: 'a control plane of the zone hangs',
      known: { silentControlPlanes: ['https://cp-2:5682'] },
      cause: 'silent-control-plane',
      untilMs: END,
    },
    {
      name: 'the object is not gone',
      known: { deregistration: 'failed' },
      cause: 'peers-not-told',
      untilMs: END,
    },
    { name: 'handed over: not gone yet', known: { deregistration: 'handed over' }, cause: 'peers-not-told' },
    {
      name: 'a restart of the proxy, the object is not gone: peers still send',
      known: {
        deregistration: 'failed',
        onlyProxyReplaced: true,
        envoy: { ...IDLE, quietSinceMs: 9_000 },
      },
      cause: 'peers-not-told',
      untilMs: 14_000,
    },
    {
      name: 'a restart of the proxy, the object is not gone: no peer has sent for 5 s',
      known: {
        deregistration: 'failed',
        onlyProxyReplaced: true,
        envoy: { ...IDLE, quietSinceMs: 5_000 },
      },
      cause: undefined,
    },
    {
      name: 'a restart of the proxy, the object is not gone: a request is in progress',
      known: { deregistration: 'failed', onlyProxyReplaced: true, envoy: inbound(1) },
      cause: 'requests',
      untilMs: END,
    },
    {
      name: 'a stop, the object is not gone: no peer has sent for 5 s',
      known: { deregistration: 'failed', envoy: { ...IDLE, quietSinceMs: 5_000 } },
      cause: 'peers-not-told',
      untilMs: END,
    },
    {
      name: 'not gone, but the peers let go before the stop',
      known: { deregistration: 'failed', peersTold: true },
      cause: undefined,
    },
    {
      name: 'kept: health checks tell the peers',
      known: { deregistration: 'kept', healthCheckMs: 8_250 },
      cause: 'health-checks',
      untilMs: 10_500,
    },
    {
      name: 'kept: they have told them',
      known: { deregistration: 'kept', healthCheckMs: 8_250, nowMs: 10_500 },
      cause: undefined,
    },
    { name: 'kept, health checks off', known: { deregistration: 'kept' }, cause: 'peers-not-told' },
    {
      name: "Envoy's admin does not answer",
      known: { envoy: undefined },
      cause: 'envoy-silent',
      untilMs: END,
    },
    {
      name: 'passthrough, or a listener without a direction: counts as outbound',
      known: { envoy: outbound({ connections: 1 }, { movedAtMs: 9_500 }) },
      cause: 'requests',
    },
    {
      name: 'a gateway of its own has no application',
      known: { proxy: 'zone egress', envoy: pool(3), application: LISTENS },
      cause: undefined,
    },
    {
      name: 'settling took longer than the drain time: a second for the last requests',
      known: { drainTimeMs: 2_000, envoy: inbound(1), nowMs: 3_000 },
      cause: 'requests',
      untilMs: 3_250,
    },
  ])('$name', ({ known, cause, untilMs }) => {
    const hold = holdOf({ ...AT_10S, ...known });
    expect(hold?.cause).toBe(cause);
    expect(hold?.untilMs).toBe(untilMs ?? hold?.untilMs);
  });

  const use = fc.record({
    inbound: fc.record({ requests: fc.nat(2), connections: fc.nat(2), begun: fc.nat(9) }),
    outbound: fc.record({
      requests: fc.nat(2),
      connections: fc.nat(2),
      begun: fc.nat(9),
      open: fc.array(
        fc.record({ listener: fc.constantFrom('a', 'b'), connections: fc.integer({ min: 1, max: 3 }) }),
        {
          maxLength: 2,
        },
      ),
      receivedBytes: fc.nat(9),
    }),
    quietSinceMs: fc.option(fc.integer({ min: 0, max: 60_000 }), { nil: undefined }),
    lastCallMs: fc.constantFrom(NEVER, 0, 5_000, 20_000),
    movedAtMs: fc.constantFrom(NEVER, 0, 5_000, 20_000),
  });
  const knowledge: fc.Arbitrary<HoldKnowledge> = fc.record({
    nowMs: fc.integer({ min: 0, max: 130_000 }),
    stopBeganAtMs: fc.constant(0),
    toldAtMs: fc.constantFrom(0, 2_250, 8_250),
    settledAtMs: fc.constantFrom(2_250, 8_250),
    drainTimeMs: fc.constantFrom(0, 1_000, 30_000, 60_000),
    proxy: fc.constantFrom(...KINDS),
    envoy: fc.option(use, { nil: undefined }),
    application: fc.record({
      ports: fc.constantFrom('answer' as const, 'refuse' as const, 'unknown' as const),
      refusedAtFirst: fc.boolean(),
      called: fc.boolean(),
    }),
    deregistration: fc.constantFrom(
      'gone' as const,
      'kept' as const,
      'failed' as const,
      'handed over' as const,
    ),
    healthCheckMs: fc.constantFrom(undefined, 8_250),
    peersTold: fc.boolean(),
    silentControlPlanes: fc.constantFrom([], ['https://cp-2']),
    onlyProxyReplaced: fc.boolean(),
    outboundHold: fc.constantFrom('auto' as const, 0, 5_000, 90_000),
    externalDrainMs: fc.constantFrom(undefined, 0, 12_000, 60_000),
  });

  test('never holds beyond the latest end, and always until a moment that is still to come', () => {
    fc.assert(
      fc.property(knowledge, (known) => {
        const hold = holdOf(known);
        const endMs = latestEndMs(known);
        expect(hold === undefined || known.nowMs < endMs).toBe(true);
        expect(hold?.untilMs ?? Number.POSITIVE_INFINITY).toBeGreaterThan(known.nowMs);
        expect(hold === undefined || hold.cause === 'quiet' ? endMs : hold.untilMs).toBeLessThanOrEqual(
          endMs,
        );
      }),
    );
  });

  test('never ends Envoy while a request is in progress in any direction and kuma-dp alone would serve it', () => {
    fc.assert(
      fc.property(knowledge, use, (known, envoy) => {
        fc.pre(known.nowMs < known.drainTimeMs);
        fc.pre(envoy.inbound.requests + envoy.inbound.connections + envoy.outbound.requests > 0);
        expect(holdOf({ ...known, envoy })?.cause).toBe('requests');
      }),
    );
  });

  test("never ends Envoy within the drain time while an application's connections are open, unless told so", () => {
    fc.assert(
      fc.property(
        knowledge,
        use,
        fc.constantFrom('sidecar' as const, 'delegated gateway' as const),
        (known, envoy, proxy) => {
          fc.pre(known.nowMs < known.drainTimeMs && envoy.outbound.open.length > 0);
          const stop = { ...known, envoy, proxy, onlyProxyReplaced: false, outboundHold: 'auto' as const };
          expect(holdOf(stop)).toBeDefined();
        },
      ),
    );
  });
});

describe('hasExternalSenders() and readinessLeadMs()', () => {
  test('readiness of gateways and ingresses fails at once, and of dataplanes with external senders', () => {
    const derived = KINDS.filter((proxy) => hasExternalSenders({ proxy, externalDrainMs: undefined }));
    expect(derived).toEqual(['builtin gateway', 'zone ingress']);
    expect(KINDS.filter((proxy) => hasExternalSenders({ proxy, externalDrainMs: 0 }))).toEqual(KINDS);
  });

  test('kuma-dp is told as much later as such clients get more time than it takes to drain', () => {
    expect(readinessLeadMs({ drainTimeMs: 30_000, externalDrainMs: undefined })).toBe(0);
    expect(readinessLeadMs({ drainTimeMs: 30_000, externalDrainMs: 12_000 })).toBe(0);
    expect(readinessLeadMs({ drainTimeMs: 30_000, externalDrainMs: 45_000 })).toBe(15_000);
  });
});

describe('describeHold()', () => {
  const wallMs = new Date(2026, 0, 1, 14, 3, 0).getTime();
  const words = (known: Partial<HoldKnowledge>): string | undefined => {
    const hold = holdOf({ ...AT_10S, ...known });
    return hold === undefined ? undefined : describeHold(hold, { monotonicMs: 10_000, wallMs });
  };

  test.for<{ readonly known: Partial<HoldKnowledge>; readonly says: string }>([
    { known: { envoy: outbound({ requests: 2 }) }, says: 'waiting for 2 outbound requests' },
    {
      known: { envoy: { ...inbound(1, 2), outbound: { ...IDLE.outbound, requests: 1 } } },
      says: 'waiting for 1 inbound request and 2 inbound connections and 1 outbound request',
    },
    {
      known: { envoy: pool(3) },
      says: 'the application still has 3 connections to Envoy (outbound:127.0.0.1:50000): waiting until 14:03:20 at the latest',
    },
    {
      known: {
        envoy: outbound({
          open: [
            { listener: 'a', connections: 1 },
            { listener: 'b', connections: 4 },
          ],
        }),
      },
      says: 'the application still has 5 connections to Envoy (b and 1 more): waiting until 14:03:20 at the latest',
    },
    {
      known: { application: LISTENS },
      says: 'the application called others and still listens: waiting until 14:03:20 at the latest',
    },
    {
      known: { proxy: 'builtin gateway' },
      says: 'clients of a gateway learn of the stop from its readiness alone: serving until 14:03:20',
    },
    {
      known: { silentControlPlanes: ['https://cp-2'] },
      says: 'dataplanes of https://cp-2 do not learn of the stop: it does not answer: serving until 14:03:20',
    },
    {
      known: { envoy: undefined },
      says: "Envoy's admin does not answer: waiting until 14:03:20 at the latest",
    },
  ])('$says', ({ known, says }) => {
    expect(words(known)).toBe(says);
  });
});
