import type { FakeZone } from '../support/fakes/fake-zone.ts';
import type { SimReplica } from './sim-replica.ts';
import type { Timeline } from './timeline.ts';

/** What all hosts of a simulation share. */
export interface SimNetwork {
  readonly timeline: Timeline;
  readonly zone: FakeZone;
  readonly replicas: readonly SimReplica[];
  readonly random: () => number;
}

/** How long each side believes in a peer that says nothing. */
export const SILENCE_MS = 14_000;
