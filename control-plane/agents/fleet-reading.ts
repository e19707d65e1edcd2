import { OperationalError, describeError } from '../../kernel/errors.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import type { AttachedAgents } from './attached-agents.ts';
import type { ReplicaHeartbeat } from './replica-heartbeat.ts';
import type { FleetRecord, KnownDeparture, SideliningRecord } from '../records.pure.ts';
import type { Store } from '../ports.ts';

/** The known state of the fleet at one moment. */
export interface FleetReading {
  /** The store's time; `undefined` while it cannot be asked. */
  readonly nowMs: number | undefined;
  readonly records: readonly FleetRecord[];
  /** Newest first. */
  readonly departures: readonly KnownDeparture[];
  readonly sidelinings: readonly SideliningRecord[];
  /** Of the store; empty if it answers. */
  readonly problem: string;
}

export interface FleetReadingDeps {
  readonly store: Pick<Store, 'nowMs' | 'records' | 'departures' | 'sidelinings'>;
  readonly agents: Pick<AttachedAgents, typeof Symbol.iterator>;
  readonly heartbeat: Pick<ReplicaHeartbeat, 'storeProblem'>;
}

const DEPARTURES = 50;

/** While the store cannot be asked, this returns only the agents attached here. */
export async function readFleet({ store, agents, heartbeat }: FleetReadingDeps): Promise<FleetReading> {
  try {
    return {
      nowMs: await store.nowMs(),
      records: await store.records(),
      departures: await store.departures({ limit: DEPARTURES }),
      sidelinings: await store.sidelinings(),
      problem: heartbeat.storeProblem ?? '',
    };
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    const records = [...agents].map(unrecorded);
    return { nowMs: undefined, records, departures: [], sidelinings: [], problem: describeError(error) };
  }
}

/** The record of an open stream, as this replica knows it. */
export function unrecorded({
  introduction,
  ...agent
}: Pick<AttachedAgent, 'epoch' | 'phase' | 'leaving'> & {
  readonly introduction: Pick<FleetRecord, 'key' | 'incarnation' | 'address'>;
}): FleetRecord {
  const { key, incarnation, address } = introduction;
  return {
    key,
    incarnation,
    epoch: agent.epoch ?? 0,
    state: agent.leaving ? 'leaving' : 'attached',
    address,
    phase: agent.phase,
    replica: undefined,
    sinceMs: undefined,
    attempts: 0,
    guard: undefined,
    reason: undefined,
    dueAtMs: undefined,
  };
}
