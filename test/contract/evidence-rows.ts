import type { Evidence, StreamEvidence } from '../../control-plane/evidence/decision.pure.ts';
import { INCARNATION_LABEL } from '../../kuma/dataplane.ts';
import { readOverview, type DataplaneOverview, type Subscription } from '../../kuma/overview.ts';

const NOW_MS = Date.UTC(2026, 0, 1, 12);
const GRACE_MS = 15_000;
const SWEEP_MS = 600_000;
const LONG_MS = 3_600_000;

function ago(ms: number): string {
  return new Date(NOW_MS - ms).toISOString();
}

function stream(instance: string, endedMs?: number): Subscription {
  const began = { id: instance, controlPlaneInstanceId: instance, connectTime: ago(2 * LONG_MS) };
  return endedMs === undefined ? began : { ...began, disconnectTime: ago(endedMs) };
}

interface Fields {
  readonly labels?: Readonly<Record<string, string>>;
  readonly address?: string;
  readonly subscriptions?: readonly Subscription[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly state?: string;
}

/** An object that its kuma-dp brought, whose last stream ended long ago. */
function shown(fields: Fields = {}): DataplaneOverview {
  const { labels = {}, address = '10.0.0.1', state, metadata = { 'dataplane.resource': '{}' } } = fields;
  const inbound = [
    { port: 80, tags: { 'kuma.io/service': 'web' }, ...(state === undefined ? {} : { state }) },
  ];
  const overview = readOverview({
    mesh: 'default',
    name: 'web-1',
    creationTime: ago(24 * LONG_MS),
    modificationTime: ago(24 * LONG_MS),
    labels,
    dataplane: { networking: { address, inbound } },
    dataplaneInsight: { subscriptions: fields.subscriptions ?? [stream('cp-now', LONG_MS)], metadata },
  });
  if (overview === undefined) throw new TypeError('Not an overview');
  return overview;
}

const BASE: Evidence = {
  record: {
    state: 'leaving',
    incarnation: 'own',
    owner: 'agent',
    deletable: true,
    address: '10.0.0.1',
    phase: 'running',
  },
  stream: { kind: 'ended', missingMs: LONG_MS },
  object: { kind: 'present', stored: shown(), unchangedMs: LONG_MS },
  envoy: 'unknown',
  pendingMs: LONG_MS,
  predecessors: new Set(['over']),
  clock: { nowMs: NOW_MS, steadyMs: Number.POSITIVE_INFINITY },
  around: {
    liveInstances: new Set(['cp-now']),
    endedInstances: new Set(['cp-old']),
    doubtfulInstances: new Set(['cp-out-of-reach']),
    zone: { kind: 'same' },
    silentControlPlanes: 0,
    mode: 'zone',
    steadyMs: 2 * LONG_MS,
    upMs: 2 * LONG_MS,
  },
  graceMs: GRACE_MS,
  sweepOfflineAfterMs: SWEEP_MS,
};

const SERVING: StreamEvidence = { kind: 'open', serving: true, heardSince: true };
const BODY = { type: 'Dataplane', mesh: 'default', name: 'web-1' };

/** The questions, each with evidence that lets it happen. */
export const QUESTIONS: Readonly<Record<string, Evidence>> = {
  'its agent left': BASE,
  'its replica was lost': {
    ...BASE,
    record: { ...BASE.record, state: 'unseen' },
    stream: { kind: 'unseen', missingMs: 20_000 },
  },
  'its agent was lost': { ...BASE, record: { ...BASE.record, state: 'lost' } },
  'it has no agent': {
    ...BASE,
    record: { ...BASE.record, state: 'swept', incarnation: '', owner: 'external', address: undefined },
    stream: { kind: 'none' },
  },
  'its agent is attached': {
    ...BASE,
    record: { ...BASE.record, state: 'attached' },
    stream: SERVING,
    object: { kind: 'missing', looks: 2, spanMs: 6_000, lastSeen: undefined, brought: BODY },
  },
};

type Change = (given: Evidence) => Evidence;

/** Changes the object, if it exists. */
function object(fields: Fields): Change {
  return (given) =>
    given.object.kind === 'missing'
      ? given
      : { ...given, object: { ...given.object, stored: shown(fields) } };
}

function around(change: Partial<Evidence['around']>): Change {
  return (given) => ({ ...given, around: { ...given.around, ...change } });
}

/** Its control plane crashed, and its Envoy may still be about to connect. */
function justBack(envoy: Evidence['envoy']): Change {
  return (given) => ({
    ...object({ subscriptions: [stream('cp-old')] })(around({ steadyMs: 20_000 })(given)),
    envoy,
  });
}

/** Changes the stream, if an agent was ever heard of. */
function streamed(change: StreamEvidence): Change {
  return (given) => (given.stream.kind === 'none' ? given : { ...given, stream: change });
}

interface Row {
  readonly source: string;
  readonly evidence: string;
  readonly change: Change;
}

export const ROWS: readonly Row[] = [
  { source: 'all', evidence: 'everything speaks for it', change: (given) => given },
  { source: 'stream', evidence: 'open, and its Envoy serves', change: streamed(SERVING) },
  {
    source: 'stream',
    evidence: 'open, but its agent has sent nothing since the object went missing',
    change: streamed({ kind: 'open', serving: true, heardSince: false }),
  },
  {
    source: 'stream',
    evidence: 'open, and its Envoy does not serve',
    change: streamed({ kind: 'open', serving: false, heardSince: true }),
  },
  { source: 'stream', evidence: 'ended 1 s ago', change: streamed({ kind: 'ended', missingMs: 1_000 }) },
  {
    source: 'stream',
    evidence: 'its replica fell silent 20 s ago, or was restarted',
    change: streamed({ kind: 'unseen', missingMs: 20_000 }),
  },
  {
    source: 'record',
    evidence: 'its agent would not delete the object',
    change: (given) => ({ ...given, record: { ...given.record, deletable: false } }),
  },
  {
    source: 'record',
    evidence: 'known for 1 s',
    change: (given) => ({ ...given, pendingMs: 1_000 }),
  },
  {
    source: 'object',
    evidence: 'it is not there',
    change: (given) => ({
      ...given,
      object: { kind: 'missing', looks: 2, spanMs: 6_000, lastSeen: undefined, brought: BODY },
    }),
  },
  {
    source: 'object',
    evidence: 'it is not there, for 1 s',
    change: (given) => ({
      ...given,
      object: { kind: 'missing', looks: 1, spanMs: 1_000, lastSeen: undefined, brought: BODY },
    }),
  },
  { source: 'object', evidence: 'its own label', change: object({ labels: { [INCARNATION_LABEL]: 'own' } }) },
  {
    source: 'object',
    evidence: 'the label of an incarnation that is over',
    change: object({ labels: { [INCARNATION_LABEL]: 'over' } }),
  },
  {
    source: 'object',
    evidence: 'the label of another incarnation',
    change: object({ labels: { [INCARNATION_LABEL]: 'another' } }),
  },
  { source: 'object', evidence: 'another address', change: object({ address: '10.0.0.2' }) },
  {
    source: 'object',
    evidence: 'neither a label nor a kuma-dp that brought it',
    change: object({ metadata: {} }),
  },
  {
    source: 'object',
    evidence: 'it, or its record, changed 1 s ago, or this process watches again for 1 s after a pause',
    change: (given) =>
      given.object.kind === 'missing' ? given : { ...given, object: { ...given.object, unchangedMs: 1_000 } },
  },
  {
    source: 'insight',
    evidence: 'connected to a control plane that answers',
    change: object({ subscriptions: [stream('cp-now')] }),
  },
  {
    source: 'insight',
    evidence: 'connected to an instance that was seen to end',
    change: object({ subscriptions: [stream('cp-old')] }),
  },
  {
    source: 'insight, Envoy',
    evidence:
      'connected to an instance that ended, whose successor is up for 20 s; its inbounds refuse the companion',
    change: justBack('refused'),
  },
  {
    source: 'insight, Envoy',
    evidence:
      'connected to an instance that ended, whose successor is up for 20 s; its Envoy may be connecting',
    change: justBack('unknown'),
  },
  {
    source: 'insight',
    evidence: 'connected to an instance that was never seen to end',
    change: object({ subscriptions: [stream('cp-never-seen')] }),
  },
  {
    source: 'insight',
    evidence: 'offline, its last stream at an instance that does not answer',
    change: object({ subscriptions: [stream('cp-out-of-reach', LONG_MS)] }),
  },
  {
    source: 'insight',
    evidence: 'offline for 1 s',
    change: object({ subscriptions: [stream('cp-now', 1_000)] }),
  },
  { source: 'insight', evidence: 'no stream was ever recorded', change: object({ subscriptions: [] }) },
  {
    source: 'insight',
    evidence: 'no stream was ever recorded, and no peer was ever told of it',
    change: object({
      subscriptions: [],
      metadata: {},
      state: 'NotReady',
      labels: { [INCARNATION_LABEL]: 'own' },
    }),
  },
  {
    source: 'insight',
    evidence: 'nothing was ever recorded, and it has the label of an incarnation that asked to leave',
    change: object({ subscriptions: [], metadata: {}, labels: { [INCARNATION_LABEL]: 'over' } }),
  },
  {
    source: 'control planes',
    evidence: 'one of them does not answer',
    change: around({ silentControlPlanes: 1 }),
  },
  {
    source: 'control planes',
    evidence: 'none of them answers',
    change: around({ silentControlPlanes: 1, liveInstances: new Set(), mode: undefined, steadyMs: 0 }),
  },
  { source: 'control planes', evidence: 'up for 1 s, or this process', change: around({ steadyMs: 1_000 }) },
  { source: 'control planes', evidence: 'a global one', change: around({ mode: 'global' }) },
  {
    source: 'zone',
    evidence: 'the store belongs to another one',
    change: around({ zone: { kind: 'foreign', reason: 'the store belongs to another zone' } }),
  },
  { source: 'zone', evidence: 'not known yet', change: around({ zone: { kind: 'unchecked' } }) },
  {
    source: 'clock',
    evidence: 'the control plane does not say its time',
    change: (given) => ({ ...given, clock: { ...given.clock, nowMs: undefined } }),
  },
  {
    source: 'clock',
    evidence: 'the control plane’s was set ahead 1 s ago',
    change: (given) => ({ ...given, clock: { ...given.clock, steadyMs: 1_000 } }),
  },
];
