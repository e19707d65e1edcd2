import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { HostState, ProcessRef } from './host-state.pure.ts';
import type { RotationRecord } from '../object/rotation-record.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { StateNote } from '../stop/stop-report.pure.ts';

export interface StateNotesDeps {
  readonly events: AgentEvents;
  readonly host: { uptimeMs(): number; processRef(pid: number): ProcessRef | undefined };
  /** Facts about the control plane for the next start on this host. */
  readonly facts: () => ControlPlaneFacts;
  readonly write: (state: HostState) => Promise<void>;
}

/** Facts about the control plane for the next start on this host. */
const LEARNT = ['deregistrationDelayMs', 'controlPlaneVersion', 'controlPlaneInstance'] as const;

/**
 * Keeps the state file up to date with the supervisor. If the file cannot be written, there is a warning and nothing
 * else happens.
 */
export class StateNotes {
  readonly #deps: StateNotesDeps;
  #state: HostState;
  #warned = false;
  #written: Promise<void> = Promise.resolve();

  constructor(initial: HostState, deps: StateNotesDeps) {
    this.#state = initial;
    this.#deps = deps;
  }

  /** Settles when everything noted so far is on disk, or was abandoned. */
  get written(): Promise<void> {
    return this.#written;
  }

  /** @param record `undefined` in rotation */
  noteRotation(record: RotationRecord | undefined): void {
    this.#write({ rotation: record });
  }

  note(note: StateNote): void {
    this.#write(this.#change(note));
  }

  /**
   * Called when the control plane knows this run's name: it has given Envoy its configuration, or Envoy cannot be
   * asked.
   */
  noteAccepted(): void {
    this.#write({ connected: true });
  }

  /** After a kill, the next start knows only this file, so every change is written at once. */
  noteFacts(): void {
    const known = this.#state;
    const learnt = this.#learnt;
    if (LEARNT.every((each) => known[each] === learnt[each])) return;
    this.#write({});
  }

  /** Facts that this run has not learnt stay as an earlier run recorded them. */
  get #learnt(): Pick<HostState, (typeof LEARNT)[number]> {
    const { deregistrationDelayMs, version, instanceId } = this.#deps.facts();
    const known = this.#state;
    return {
      deregistrationDelayMs: deregistrationDelayMs ?? known.deregistrationDelayMs,
      controlPlaneVersion: version ?? known.controlPlaneVersion,
      controlPlaneInstance: instanceId ?? known.controlPlaneInstance,
    };
  }

  #write(change: Partial<HostState>): void {
    const { write, events } = this.#deps;
    this.#state = { ...this.#state, ...change, ...this.#learnt };
    this.#written = write(this.#state).catch((error: unknown) => {
      if (!this.#warned) events.stateUnwritable(error);
      this.#warned = true;
    });
  }

  #change(note: StateNote): Partial<HostState> {
    const { host } = this.#deps;
    switch (note.phase) {
      case 'running':
        return { phase: 'running', kumaDp: host.processRef(note.pid) };
      case 'leaving':
        return { phase: 'leaving', deregistered: note.deregistered };
      case 'ended':
        return {
          phase: 'ended',
          deregistered: note.deregistered,
          endedAtUptimeMs: host.uptimeMs(),
          ...(note.neverStored ? { connected: false } : {}),
          ...(note.lastStop === undefined ? {} : { lastStop: note.lastStop }),
        };
    }
  }
}
