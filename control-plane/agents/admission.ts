import type { AgentChannel, AttachedAgent } from '../attached-agent.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Introduction, AttachVerdict, Store } from '../ports.ts';
import type { DataplaneRecord } from '../records.pure.ts';
import type { Loss } from '../witness/loss.pure.ts';
import type { GivenHere } from './entry-here.ts';
import type { Teller } from './phase-notes.ts';

export interface AttachedAgentsDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  /** The name of this process among the replicas that share the store. */
  readonly replica: string;
  readonly graceMs: number;
  /** Called when a stream was lost: a departure may be due. */
  readonly nudge: () => void;
  /** Called when a running agent attaches: its object may be missing. */
  readonly onAttached: (agent: AttachedAgent) => void;
  /** Called with an agent's stop report, unparsed. */
  readonly onReported: (introduction: Introduction, report: unknown) => void;
  /**
   * Called when a stream was lost without a leave request, after the store has recorded the loss if it can be
   * reached.
   */
  readonly onLost: (agent: AttachedAgent, loss: Loss) => Promise<void>;
  /** Called when an agent has received its name. */
  readonly onTaken: (key: DataplaneKey) => void;
  /**
   * Whether this process was so late that an agent may have given up because of it: the end of its stream is then no
   * loss.
   */
  readonly isLate: () => boolean;
  /** Whether the inbounds of this record refuse connections from this process. Never throws. */
  readonly isRefused: (record: DataplaneRecord) => Promise<boolean>;
}

/** The result of a request to attach. */
export type StreamAdmission = { readonly agent: AttachedAgent } | { readonly superseded: true };

export type Given = Exclude<AttachVerdict, { readonly kind: 'held' }> | GivenHere;

export type MutableAgent = { -readonly [Field in keyof AttachedAgent]: AttachedAgent[Field] } & Teller;

/** Keeps the resource: a store that has lost the record gets it again. */
export function openedAgent(introduction: Introduction, channel: AgentChannel, nowMs: number): MutableAgent {
  return {
    introduction,
    channel,
    epoch: undefined,
    leaving: false,
    serving: false,
    phase: introduction.phase,
    sinceMs: nowMs,
    words: 1,
    saidMs: nowMs,
  };
}
