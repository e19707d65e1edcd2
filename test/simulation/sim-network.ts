import type { PeerConnection } from '../../control-plane/attached-agent.ts';
import type { FakeZone } from '../support/fakes/fake-zone.ts';
import type { SimReach } from './sim-reach.ts';
import type { SimReplica } from './sim-replica.ts';
import type { Timeline } from './timeline.ts';

/** What all hosts of a simulation share. */
export interface SimNetwork {
  readonly timeline: Timeline;
  readonly zone: FakeZone;
  readonly replicas: readonly SimReplica[];
  readonly random: () => number;
  /** How long agent and companion believe in a peer that says nothing. */
  readonly silenceMs: number;
  /** How long a control plane does. */
  readonly planeSilenceMs: number;
  /** Where witnesses look; `undefined`: none is asked. */
  readonly reach: SimReach | undefined;
  readonly connections: SimConnections;
}

/** Connections of agents to companions, by the peer that the companion sees. */
export class SimConnections {
  readonly #all: PeerConnection[] = [];

  /** @returns its peer */
  open(connection: PeerConnection): string {
    return `peer-${this.#all.push(connection) - 1}`;
  }

  find(peer: string): PeerConnection | undefined {
    return this.#all[Number(peer.slice('peer-'.length))];
  }
}
