import { type KumaWorld, type Protocol } from '../kuma-worlds/kuma-world.ts';

/** The same dataplane twice in one world: kuma-dp alone, and with the agent in front of it. */
export const LANES = ['bare', 'agent'] as const;
export type LaneKind = (typeof LANES)[number];

/**
 * The durations of a run. On the emulator, durations that only lengthen a stop are shorter; those by which Kuma and
 * the agent decide are not.
 */
export interface Tempo {
  /** kuma-dp's `--drain-time`; Kuma's default is 30 s. */
  readonly drainMs: number;
  /** How long an application continues its work after the request to stop. */
  readonly goesOnMs: number;
  /** How often the load balancer asks for `/ready`. */
  readonly balancerIntervalMs: number;
}

export const SHORT: Tempo = { drainMs: 12_000, goesOnMs: 6_000, balancerIntervalMs: 2_000 };
export const KUMAS: Tempo = { drainMs: 30_000, goesOnMs: 10_000, balancerIntervalMs: 5_000 };

interface Requests {
  readonly kind: 'requests';
  readonly everyMs: number;
  readonly fresh?: true;
}

interface InFlight {
  readonly kind: 'in flight';
  readonly takesMs: number;
}

/** How the dataplane that stops is used while it does. */
export type Use =
  /**
   * A request each interval, as long as its sender lives; `fresh`: each over a new connection, to Envoy and upstream.
   */
  | Requests
  /** Some requests that are in progress at the stop, and none after them. */
  | InFlight
  /** A connection or stream that is used all the time and never ends by itself. */
  | { readonly kind: 'session' };

export const BUSY: Requests = { kind: 'requests', everyMs: 50 };
export const SPARSE: Use = { kind: 'requests', everyMs: 2_000, fresh: true };
export const THREE_A_SECOND: Use = { kind: 'requests', everyMs: 333, fresh: true };
export const IN_FLIGHT: Use = { kind: 'in flight', takesMs: 4_500 };

/**
 * The dataplane that stops, and its users: peers use a service; its own application uses a worker and a delegated
 * gateway; clients use a builtin gateway.
 */
export type StopSubject = 'service' | 'worker' | 'delegated gateway' | 'builtin gateway';

export interface StopScenario {
  readonly title: string;
  readonly subject: StopSubject;
  readonly protocol: Protocol;
  readonly use: Use;
  /** When the application behind a worker or a delegated gateway ends, seen from the stop; `after`: {@link Tempo.goesOnMs}. */
  readonly applicationEnds?: 'before' | 'with' | 'after';
  /** Clients reach it through a load balancer that asks for `/ready`. */
  readonly balanced?: true;
  /** Options of the agent beside its endpoints. */
  readonly options?: readonly string[];
  /** What else happens at the moment of the stop. */
  readonly fault?: StopFault;
  /** Of the zone: two share one store, and dataplanes connect through one port in front of both. */
  readonly controlPlanes?: number;
  /** SIGKILL to everything so long after the stop was asked for, as supervisors do. */
  readonly killedAfterMs?: number;
  /** How much later than kuma-dp alone the agent may end; a second if left out. */
  readonly laterMs?: number;
  /** By when the agent has to have ended. */
  readonly withinMs?: number;
}

export interface StopFault {
  /** At the stop, in the world of the scenario, which nothing else uses then. */
  readonly atStop: (world: KumaWorld, tempo: Tempo) => Promise<void> | void;
  /** When both have ended. */
  readonly after?: (world: KumaWorld) => Promise<void> | void;
}

/** The name of a service that belongs to one lane of one scenario. */
export function laneName(id: string, lane: LaneKind): string {
  return `${id}-${lane}`;
}

/** Whether its own application is what uses it. */
export function isCalling({ subject }: StopScenario): boolean {
  return subject === 'worker' || subject === 'delegated gateway';
}

/**
 * Whether a peer's Envoy is between the users and the dataplane. Long requests bypass it, as if from one more peer: a
 * balanced one might go elsewhere.
 */
export function callsThroughPeer({ subject, use }: StopScenario): boolean {
  return subject === 'service' && use.kind === 'requests';
}
