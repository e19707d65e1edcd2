import type {
  DeletionCase,
  Guard,
  Judgement,
  Surroundings,
} from '../../../../control-plane/evidence/guards.pure.ts';
import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import { readOverview, type DataplaneOverview, type Subscription } from '../../../../kuma/overview.ts';

/** The control plane's clock in all tables. */
export const NOW_MS = Date.UTC(2026, 0, 1, 12);
export const GRACE_MS = 15_000;
export const SWEEP_AFTER_MS = 600_000;

/** A row of a table of deletions: a clear case, changed by `given`. */
export interface CaseRow {
  readonly name: string;
  readonly given: Partial<DeletionCase>;
  readonly judgement: Judgement;
}

export const DELETE: Judgement = { verdict: 'delete' };

export function wait(guard: Guard, reason: string, retryAfterMs: number): Judgement {
  return { verdict: 'wait', guard, reason, retryAfterMs };
}

export function ago(ms: number): string {
  return new Date(NOW_MS - ms).toISOString();
}

export const AROUND: Surroundings = {
  liveInstances: new Set(['cp-now']),
  endedInstances: new Set(['cp-old']),
  doubtfulInstances: new Set(),
  zone: { kind: 'same' },
  silentControlPlanes: 0,
  mode: 'zone',
  steadyMs: 3_600_000,
};

export const MINE = { [INCARNATION_LABEL]: 'mine' };
export const THEIRS = { [INCARNATION_LABEL]: 'theirs' };
export const BROUGHT = { 'dataplane.resource': '{}' };

export function stream(instance: string | undefined, connectedMs: number, endedMs?: number): Subscription {
  return {
    id: `stream-${connectedMs}`,
    ...(instance === undefined ? {} : { controlPlaneInstanceId: instance }),
    connectTime: ago(connectedMs),
    ...(endedMs === undefined ? {} : { disconnectTime: ago(endedMs) }),
  };
}

export function inbound(service: string | undefined, more: Readonly<Record<string, unknown>> = {}): object {
  return { port: 8080, ...(service === undefined ? {} : { tags: { 'kuma.io/service': service } }), ...more };
}

export interface ObjectFields {
  readonly mesh?: string;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly networking?: object;
  readonly subscriptions?: readonly Subscription[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** How long ago it was written. */
  readonly writtenMs?: number;
}

/** An object as Kuma shows it, a day old. */
export function shown(fields: ObjectFields = {}): DataplaneOverview {
  const { mesh = 'default', name = 'web-1', labels = {}, subscriptions = [], metadata = {} } = fields;
  const overview = readOverview({
    mesh,
    name,
    creationTime: ago(86_400_000),
    modificationTime: ago(fields.writtenMs ?? 86_000_000),
    labels,
    dataplane: { networking: fields.networking ?? { address: '10.0.0.1', inbound: [inbound('web')] } },
    dataplaneInsight: { subscriptions, metadata },
  });
  if (overview === undefined) throw new TypeError('Not an overview');
  return overview;
}

const LONG_MS = 7_200_000;

/** One case of each cause that no guard holds: the neighbour of every row that a guard holds. */
export const CLEAR: Readonly<Record<DeletionCase['cause'], DeletionCase>> = {
  requested: {
    cause: 'requested',
    record: { incarnation: 'mine', deletable: true, address: '10.0.0.1' },
    missingMs: undefined,
    pendingMs: 100,
    stored: shown({ subscriptions: [stream('cp-now', LONG_MS)] }),
    unchangedMs: 0,
    clockMs: NOW_MS,
    around: AROUND,
    graceMs: GRACE_MS,
    sweepOfflineAfterMs: SWEEP_AFTER_MS,
  },
  fallback: {
    cause: 'fallback',
    record: { incarnation: 'mine', deletable: true, address: '10.0.0.1' },
    missingMs: GRACE_MS,
    pendingMs: GRACE_MS,
    stored: shown({ subscriptions: [stream('cp-now', LONG_MS, GRACE_MS)] }),
    unchangedMs: GRACE_MS,
    clockMs: NOW_MS,
    around: { ...AROUND, steadyMs: GRACE_MS },
    graceMs: GRACE_MS,
    sweepOfflineAfterMs: SWEEP_AFTER_MS,
  },
  sweep: {
    cause: 'sweep',
    record: { incarnation: '', deletable: false, address: undefined },
    missingMs: undefined,
    pendingMs: 0,
    stored: shown({ metadata: BROUGHT, subscriptions: [stream('cp-now', LONG_MS, SWEEP_AFTER_MS)] }),
    unchangedMs: GRACE_MS + 30_000,
    clockMs: NOW_MS,
    around: { ...AROUND, steadyMs: GRACE_MS + 30_000 },
    graceMs: GRACE_MS,
    sweepOfflineAfterMs: SWEEP_AFTER_MS,
  },
};
