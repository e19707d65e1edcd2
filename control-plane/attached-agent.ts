import type { LookResult } from '../kernel/tcp-findings.ts';
import type { DataplaneKey } from '../kuma/dataplane.ts';
import type { Introduction } from './ports.ts';
import type { LossCause } from './witness/loss.pure.ts';

/** The connection of one call. Its answers are valid after its end as well. */
export interface PeerConnection {
  /** The IP address of the other end. */
  readonly address: string;
  /** How many bytes have come on it. */
  readonly heardBytes: number;
  /** Why the connection ended; call it when a stream on it has ended. Never rejects. */
  lossCause(): Promise<Exclude<LossCause, 'replica-gone'>>;
  /** A call on it waits for this process: the time for its first authenticated call stands still. */
  waits(): void;
  /** The call has its turn: the time begins anew. */
  begins(): void;
}

/** A question to a witness. */
export interface WitnessLook {
  readonly id: number;
  readonly targets: readonly { readonly address: string; readonly port: number }[];
  readonly control:
    | { readonly address: string; readonly port: number; readonly closedPort: number }
    | undefined;
  readonly timeoutMs: number;
}

/** Its answer: one finding for each target. */
export interface WitnessTestimony {
  readonly id: number;
  readonly findings: readonly LookResult[];
}

/** Sends messages on one agent's stream. */
export interface AgentChannel {
  /** Whether the agent answers a look. */
  readonly looks: boolean;
  /** The agent's version as it reports it; may be empty. */
  readonly version?: string;
  /** The subject of its token: two agents of one subject count as one witness. */
  readonly subject: string;
  look(look: WitnessLook): void;
  attached(epoch: number | undefined, leaving: boolean): void;
  /** Tells it that another incarnation has the name and serves: this one waits on its stream. */
  held(reason: string): void;
  redirect(reason: string): void;
  /** Tells it that a newer incarnation has the name. */
  supersede(): void;
  /** Tells it that the facts about the control plane have changed, if the agent takes news. */
  news(): void;
  /** Asks the agent for its phase again. Older agents ignore this. */
  ask(): void;
  /**
   * The number of bytes received on its connection. It grows only while the other end answers. `undefined` if it is not
   * counted.
   */
  heardBytes(): number | undefined;
  /** The IP address that the stream comes from; `undefined` on a Unix socket. */
  readonly address: string | undefined;
}

/** One open stream. Only `agents/` changes it. */
export interface AttachedAgent {
  readonly introduction: Introduction;
  readonly channel: AgentChannel;
  /** `undefined` while the store has not answered, and while another incarnation has the name. */
  readonly epoch: number | undefined;
  readonly leaving: boolean;
  /** Whether its Envoy serves, as the agent last said. */
  readonly serving: boolean;
  readonly phase: string;
  /** When it attached, or began to serve since; monotonic. */
  readonly sinceMs: number;
  /** The number of messages on this stream, and the time of the last one; monotonic. */
  readonly words: number;
  readonly saidMs: number;
}

/** A name and one epoch of it. */
export interface At {
  readonly key: DataplaneKey;
  readonly epoch: number;
}
