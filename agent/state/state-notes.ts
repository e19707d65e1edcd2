import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { HostState, ProcessRef } from './host-state.pure.ts';
import type { RotationRecord } from '../object/rotation-record.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { StateNote } from '../stop/stop-report.pure.ts';

export interface StateNotesDeps {
  readonly events: AgentEvents;
  readonly host: { uptimeMs(): number; processRef(pid: number): ProcessRef | undefined };
  /** What the next start on this host wants to know of the control plane. */
  readonly facts: () => ControlPlaneFacts;
  readonly write: (state: HostState) => Promise<void>;
}

/** Keeps the state file in step with the supervisor. A file that cannot be written costs a warning, nothing else. */
export class StateNotes {
  readonly #deps: StateNotesDeps;
  #state: HostState;
  #warned = false;
  #written: Promise<void> = Promise.resolve();

  constructor(initial: HostState, deps: StateNotesDeps) {
    this.#state = initial;
    this.#deps = deps;
  }

  /** Settles when everything noted so far is on disk, or was given up. */
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

  /** A start after a kill has nobody else to tell it: what has changed is written down at once. */
  noteFacts(): void {
    const { deregistrationDelayMs, controlPlaneVersion } = this.#facts;
    const known = this.#state;
    if (
      known.deregistrationDelayMs === deregistrationDelayMs &&
      known.controlPlaneVersion === controlPlaneVersion
    )
      return;
    this.#write({});
  }

  get #facts(): Pick<HostState, 'deregistrationDelayMs' | 'controlPlaneVersion'> {
    const { deregistrationDelayMs, version } = this.#deps.facts();
    return { deregistrationDelayMs, controlPlaneVersion: version };
  }

  #write(change: Partial<HostState>): void {
    const { write, events } = this.#deps;
    this.#state = { ...this.#state, ...change, ...this.#facts };
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
          ...(note.lastStop === undefined ? {} : { lastStop: note.lastStop }),
        };
    }
  }
}
