import { readFileSync } from 'node:fs';

import { fleetRoutes, type FleetSource } from '../../control-plane/page/fleet-page.io.ts';
import { startHttpListeners, type HttpListeners, type HttpRoute } from '../../program/http-listeners.ts';
import { changeBetween, type FleetChange } from '../../control-plane/page/fleet-change.pure.ts';
import {
  GUARD_WORDS,
  type FleetDeparture,
  type FleetHead,
  type FleetRow,
  type FleetSnapshot,
} from '../../control-plane/page/fleet-view.pure.ts';
import { systemClock, type Clock } from '../../kernel/clock.ts';

export const PAGE_HTML = readFileSync(
  new URL('../../control-plane/page/fleet.html', import.meta.url),
  'utf8',
);

type Listener = (snapshot: FleetSnapshot, change: FleetChange | undefined) => void;

/** A fleet whose contents a test sets. */
export class ScriptedFleet implements FleetSource {
  readonly #listeners = new Set<Listener>();
  #now: FleetSnapshot;

  constructor(snapshot: FleetSnapshot) {
    this.#now = snapshot;
  }

  get now(): FleetSnapshot {
    return this.#now;
  }

  get followers(): number {
    return this.#listeners.size;
  }

  become(more: Partial<FleetSnapshot>): void {
    const before = this.#now;
    this.#now = { ...before, nowMs: Date.now(), ...more };
    const change = changeBetween(before, this.#now);
    for (const listener of this.#listeners) listener(this.#now, change);
  }

  snapshot(): Promise<FleetSnapshot> {
    return Promise.resolve(this.#now);
  }

  follow(listener: Listener): () => void {
    this.#listeners.add(listener);
    listener(this.#now, undefined);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

/** The page's routes on a port of its own, as the companion serves them. */
export function serveFleet(
  fleet: FleetSource,
  options: {
    readonly clock?: Clock;
    readonly port?: number;
    readonly guard?: (route: HttpRoute) => HttpRoute;
  } = {},
): Promise<HttpListeners> {
  const { clock = systemClock, port = 0, guard = (route: HttpRoute) => route } = options;
  return startHttpListeners({
    address: { kind: 'tcp', host: '127.0.0.1', port },
    ownNamesOnly: true,
    routes: fleetRoutes({ clock, html: PAGE_HTML, fleet }).map(guard),
    onError: (path, err) => {
      throw new Error(`${path} threw`, { cause: err });
    },
  });
}

export function head(more: Partial<FleetHead> = {}): FleetHead {
  return {
    version: '0.1.0',
    replica: 'cp-1-3f0c9a12',
    startedAtMs: Date.now() - 3 * 3_600_000,
    replicas: ['cp-1-3f0c9a12'],
    store: { kind: 'sqlite', problem: '' },
    controlPlanes: [
      { url: 'http://127.0.0.1:5681', mode: 'zone', version: '2.14.3', instanceId: 'cp-1-70a1', problem: '' },
    ],
    brakes: [],
    guards: GUARD_WORDS,
    ...more,
  };
}

export function row(id: string, more: Partial<FleetRow> = {}): FleetRow {
  return {
    id,
    state: 'attached',
    service: (id.split('/')[1] ?? '').replace(/-[^-]*$/, ''),
    address: '192.0.2.17',
    phase: 'running',
    incarnation: '0196f1c4-6c1e-7b3a-9d1e-3f6f1d2b8a55',
    epoch: 7,
    replica: 'cp-1-3f0c9a12',
    sinceMs: Date.now() - 600_000,
    attempts: 0,
    guard: '',
    reason: '',
    dueAtMs: 0,
    ...more,
  };
}

export function rows(count: number): readonly FleetRow[] {
  const services = ['web', 'orders', 'payments', 'search', 'sessions'];
  return Array.from({ length: count }, (_, at) =>
    row(`default/${services[at % services.length] ?? ''}-${String(at).padStart(4, '0')}`),
  );
}

export function departure(id: string, more: Partial<FleetDeparture> = {}): FleetDeparture {
  const steps = [
    { step: 'deregister', startMs: 0, durationMs: 96, outcome: 'gone' },
    { step: 'settle', startMs: 96, durationMs: 3_000, outcome: 'waited' },
    { step: 'drain', startMs: 3_096, durationMs: 1_310, outcome: 'quiet' },
    { step: 'exit', startMs: 4_406, durationMs: 240, outcome: 'exited' },
  ];
  return {
    id,
    incarnation: '0196f1c4-6c1e-7b3a-9d1e-3f6f1d2b8a55',
    epoch: 6,
    cause: 'requested',
    outcome: 'deleted',
    guard: '',
    reason: 'deleted',
    attempts: 1,
    atMs: Date.now() - 90_000,
    totalMs: 4_646,
    steps,
    ...more,
  };
}

/** One of each kind. */
export function mixedFleet(attached = 40): FleetSnapshot {
  const nowMs = Date.now();
  const brake =
    '3 of 10 dataplanes of mesh default were deleted in the last 10m, at most 3 (25 %, at least 3); released by `kuma-deregistrar brake release` or in 4m';
  const waiting = [
    row('default/orders-lost-1', {
      state: 'lost',
      phase: 'running',
      sinceMs: nowMs - 41_000,
      attempts: 3,
      guard: 'brake',
      reason: brake,
      replica: '',
      dueAtMs: nowMs + 240_000,
    }),
    row('default/search-lost-2', {
      state: 'lost',
      sinceMs: nowMs - 9_000,
      reason: 'its grace of 15s is not over',
      replica: '',
      dueAtMs: nowMs + 6_000,
    }),
    row('default/web-leaving-1', { state: 'leaving', phase: 'draining', sinceMs: nowMs - 2_000 }),
    row('default/web-leaving-2', { state: 'leaving', phase: 'settling', sinceMs: nowMs - 700 }),
    row('default/batch-swept-1', {
      state: 'swept',
      phase: '',
      sinceMs: nowMs - 3_000,
      guard: 'subscription-online',
      reason: 'control plane cp-2 holds a stream of it',
      replica: '',
    }),
  ];
  return {
    nowMs,
    head: head({
      brakes: [
        {
          mesh: 'default',
          service: '',
          dataplanes: 10,
          deleted: 3,
          allowed: 3,
          heldBack: 1,
          reason: brake,
        },
      ],
      controlPlanes: [
        ...head().controlPlanes,
        {
          url: 'https://cp-2.example:5682',
          mode: '',
          version: '',
          instanceId: '',
          problem: 'connect ECONNREFUSED 192.0.2.7:5682',
        },
      ],
    }),
    dataplanes: [...waiting, ...rows(attached)],
    departures: [
      departure('default/web-0012'),
      departure('default/orders-0007', {
        cause: 'fallback',
        totalMs: 15_800,
        atMs: nowMs - 130_000,
        steps: [{ step: 'silent', startMs: 0, durationMs: 15_800, outcome: 'deleted' }],
      }),
      departure('default/payments-0003', {
        totalMs: 8_210,
        atMs: nowMs - 300_000,
        steps: [
          { step: 'deregister', startMs: 0, durationMs: 1_900, outcome: 'gone' },
          { step: 'settle', startMs: 1_900, durationMs: 3_000, outcome: 'waited' },
          { step: 'drain', startMs: 4_900, durationMs: 3_100, outcome: 'timeout' },
          { step: 'exit', startMs: 8_000, durationMs: 210, outcome: 'exited' },
        ],
      }),
      departure('default/batch-0001', {
        cause: 'sweep',
        totalMs: 2_300,
        atMs: nowMs - 900_000,
        steps: [{ step: 'offline', startMs: 0, durationMs: 2_300, outcome: 'deleted' }],
      }),
      departure('default/search-0004', {
        cause: 'fallback',
        outcome: 'refused',
        guard: 'not-lifecycle-managed',
        reason: 'an operator applied it by hand',
        totalMs: 15_100,
        atMs: nowMs - 1_800_000,
        steps: [{ step: 'silent', startMs: 0, durationMs: 15_100, outcome: 'refused' }],
      }),
      departure('default/web-0002', { totalMs: 0, steps: [], atMs: nowMs - 7_200_000 }),
    ],
  };
}
