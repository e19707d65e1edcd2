import { isAborted } from '../../kernel/aborted.ts';
import { pause, sleep, type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import {
  NO_OBJECT,
  rememberStates,
  stillOut,
  type PortStates,
  type RotationAnswer,
  type RotationOrder,
} from '../../kuma/rotation.ts';
import {
  lookAgainMs,
  settleLeftMs,
  type RotationRecord,
  type RotationResult,
  type RotationStage,
} from './rotation-record.pure.ts';
import { untilDrained } from '../envoy/drain-watch.ts';
import type { AgentEvents } from '../events.ts';
import type { EnvoyAdmin } from '../ports.ts';
import type { Registration } from './registration.ts';

export interface RotationDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly registration: Pick<Registration, 'rotate' | 'facts' | 'settleMs'>;
  /** What an earlier run left; `undefined` in rotation. */
  readonly initial: RotationRecord | undefined;
  /** What its template says of each port, where there is one. */
  readonly template: PortStates;
  /** The agent puts the object NotReady before kuma-dp starts, and nobody but the agent makes it ready. */
  readonly owned: boolean;
  /** Told before anything is changed, and when it is over. */
  readonly note: (record: RotationRecord | undefined) => void;
  /** Aborts when a stop begins: from then on nothing is turned any more. */
  readonly stopping: AbortSignal;
}

export interface RotationRequest {
  readonly wanted: 'out' | 'in';
  /** Until peers know, and for a drain until the last request is done; otherwise until the object says so. */
  readonly wait: boolean;
  readonly timeoutMs: number;
  /** Aborts when nobody waits any more. */
  readonly cancel: AbortSignal;
}

/** Envoy's health check of itself, every second by default, and its next report: until then a report may be stale. */
const STALE_REPORT_MS = 1_500;
const POLL_MS = 50;
/** A service probe that does not turn a port ready for so long has something to say. */
const PROBE_PATIENCE_MS = 15_000;

/** Takes the dataplane out of rotation and back while everything keeps running, and keeps it there. */
export class Rotation {
  readonly #deps: RotationDeps;
  readonly #wentOut = new AbortController();
  #record: RotationRecord | undefined;
  #admin: EnvoyAdmin | undefined;
  /** Of the turn that is wanted now: when the object said so first, or again. */
  #turnedAtMs: number | undefined;
  /** When the object was last seen to be so without our doing. */
  #heldAtMs: number | undefined;
  #wantedAtMs = 0;
  #last: RotationAnswer = NO_OBJECT;
  #failure: unknown;
  #next = new AbortController();
  #serving = false;
  #announced = false;

  constructor(deps: RotationDeps) {
    this.#deps = deps;
    const { initial, template, stopping } = deps;
    this.#record =
      initial === undefined ? undefined : { ...initial, states: { ...template, ...initial.states } };
    stopping.addEventListener('abort', () => {
      this.#next.abort(stopping.reason);
    });
  }

  /** Envoy serves: from now on an owned object may be made ready. */
  onServing(): void {
    this.#serving = true;
    this.#next.abort(new Error('Envoy serves'));
  }

  /** What an owned object says is no longer only that it was not announced yet. */
  onAnnounced(): void {
    this.#announced = true;
  }

  /** Aborts when a drain is wanted for the first time: whoever announces the dataplane must not go on. */
  get wentOut(): AbortSignal {
    return this.#wentOut.signal;
  }

  get isWantedOut(): boolean {
    return this.#record?.wanted === 'out';
  }

  get stage(): RotationStage {
    if (this.#record === undefined) return 'in';
    if (this.#record.wanted === 'in') return 'turning in';
    return this.settleLeftMs === 0 ? 'out' : 'turning out';
  }

  get since(): string | undefined {
    return this.#record?.since;
  }

  /** What a stop still has to wait for its peers. */
  get settleLeftMs(): number {
    const { clock, registration } = this.#deps;
    const outForMs =
      this.isWantedOut && this.#turnedAtMs !== undefined && this.#holds(this.#turnedAtMs)
        ? clock.monotonicMs() - this.#turnedAtMs
        : undefined;
    return settleLeftMs(registration.settleMs, outForMs);
  }

  /** Goes on with what an earlier run was asked for. */
  start(): void {
    if (this.isWantedOut) this.#wentOut.abort(new Error('It is drained'));
    this.#wantedAtMs = this.#deps.clock.monotonicMs();
    void this.#keep();
  }

  /** An Envoy that is out of rotation must not call itself healthy, or Kuma's HDS puts it back. */
  onEnvoySeen(admin: EnvoyAdmin | undefined): void {
    this.#admin = admin;
    this.#next.abort(new Error('Envoy is there'));
  }

  /** Idempotent. Never throws. What did not come about in time is tried on. */
  async turn(request: RotationRequest): Promise<RotationResult> {
    const { clock, stopping } = this.#deps;
    const { wanted, cancel, timeoutMs } = request;
    const untilMs = clock.monotonicMs() + timeoutMs;
    const changed = this.#want(wanted);
    const settled = (): boolean => (request.wait ? this.#settled(wanted) : this.#turned(wanted));
    while (!settled()) {
      if (stopping.aborted) return stoppingNow(changed);
      if (cancel.aborted || this.#overruled(wanted))
        return { outcome: 'refused', changed, detail: 'given up: asked otherwise' };
      if (clock.monotonicMs() >= untilMs)
        return { outcome: 'pending', changed, detail: this.#whyPending(wanted) };
      await sleep(clock, POLL_MS);
    }
    if (wanted === 'in' || !request.wait) return this.#done(wanted, changed);
    return this.#untilQuiet(changed, untilMs, cancel);
  }

  #want(wanted: 'out' | 'in'): boolean {
    const before = this.#record;
    if ((before?.wanted ?? 'in') === wanted) return false;
    const { clock, events, template, owned, note } = this.#deps;
    const fresh = owned && !this.#announced ? template : {};
    const since = new Date(clock.wallMs()).toISOString();
    this.#record = { wanted, since, states: before?.states ?? fresh };
    this.#turnedAtMs = undefined;
    this.#heldAtMs = undefined;
    this.#failure = undefined;
    this.#wantedAtMs = clock.monotonicMs();
    if (wanted === 'out') this.#wentOut.abort(new Error('It is drained'));
    events.rotationWanted(wanted);
    note(this.#record);
    if (before === undefined) void this.#keep();
    else this.#next.abort(new Error('Something else is wanted'));
    return true;
  }

  /** One at a time: ends when it is in rotation again, or when a stop begins. */
  async #keep(): Promise<void> {
    const { clock, events, stopping, note } = this.#deps;
    for (let warned = false; this.#record !== undefined && !stopping.aborted;) {
      const record = this.#record;
      this.#next = new AbortController();
      try {
        await this.#turnOnce(record);
        this.#failure = undefined;
        warned = false;
      } catch (error) {
        if (isAborted(stopping)) return;
        this.#failure = error;
        if (!warned) events.rotationFailed(record.wanted, error);
        warned = true;
      }
      if (this.#record.wanted === 'in' && this.#isIn(this.#record)) {
        this.#record = undefined;
        note(undefined);
        return;
      }
      const pauseMs = lookAgainMs(clock.monotonicMs() - this.#wantedAtMs, this.#last.found);
      await pause(clock, pauseMs, this.#next.signal);
    }
  }

  async #turnOnce(record: RotationRecord): Promise<void> {
    const { registration, stopping, events } = this.#deps;
    const { wanted } = record;
    if (this.#tooEarly(wanted)) return;
    if (wanted === 'out' && this.#turnedAtMs === undefined) await this.#remember(record);
    if (this.#record?.wanted !== wanted) return;
    await this.#admin?.healthcheck(wanted === 'out' ? 'fail' : 'ok').catch(events.healthcheckUntold);
    const answer = await registration.rotate(this.#order(wanted), stopping);
    // Meanwhile somebody may have asked for the opposite.
    if (this.#record.wanted === wanted) this.#onTurned(wanted, answer);
  }

  /** An owned object becomes ready when its Envoy serves, whoever asks. */
  #tooEarly(wanted: 'out' | 'in'): boolean {
    return wanted === 'in' && this.#deps.owned && !this.#serving;
  }

  /** Written down before it is changed: what a crash in between leaves can be undone. */
  async #remember(record: RotationRecord): Promise<void> {
    const { registration, stopping, note } = this.#deps;
    const { found, states } = await registration.rotate({ turn: 'look' }, stopping);
    if (!found || this.#record !== record) return;
    this.#record = { ...record, states: rememberStates(record.states, states) };
    note(this.#record);
  }

  #order(wanted: 'out' | 'in'): RotationOrder {
    if (wanted === 'out') return { turn: 'out' };
    const leaveProbed = this.#deps.registration.facts.hdsDelayMs !== undefined;
    return { turn: 'in', states: this.#record?.states ?? {}, leaveProbed };
  }

  #onTurned(wanted: 'out' | 'in', answer: RotationAnswer): void {
    const { clock, events } = this.#deps;
    const first = this.#turnedAtMs === undefined;
    this.#last = answer;
    if (first || answer.changed) this.#turnedAtMs = clock.monotonicMs();
    else this.#heldAtMs = clock.monotonicMs();
    if (first) events.rotationTurned(wanted, answer.found);
  }

  /** The object says so since the peers could know, and no late health report has undone it. */
  #isIn({ states }: RotationRecord): boolean {
    if (this.#turnedAtMs === undefined || this.#failure !== undefined) return false;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#turnedAtMs < this.#deps.registration.settleMs) return false;
    return stillOut(states, this.#last.states).length === 0 || nowMs - this.#wantedAtMs > PROBE_PATIENCE_MS;
  }

  #turned(wanted: 'out' | 'in'): boolean {
    return wanted === 'in' && this.#record === undefined
      ? true
      : this.#turnedAtMs !== undefined && this.#record?.wanted === wanted;
  }

  #settled(wanted: 'out' | 'in'): boolean {
    return wanted === 'in' ? this.#record === undefined : this.stage === 'out';
  }

  /** A health report from before may put it back once: with HDS on, a look after that counts. */
  #holds(turnedAtMs: number): boolean {
    const { hdsDelayMs } = this.#deps.registration.facts;
    return hdsDelayMs === undefined || (this.#heldAtMs ?? 0) >= turnedAtMs + STALE_REPORT_MS;
  }

  #overruled(wanted: 'out' | 'in'): boolean {
    return (this.#record?.wanted ?? 'in') !== wanted;
  }

  #done(wanted: 'out' | 'in', changed: boolean): RotationResult {
    const nothing = this.#last.found || !changed ? '' : '; it has no object at its control plane now';
    const out = wanted === 'in' ? stillOut({}, this.#last.states) : [];
    const left = out.length === 0 || !changed ? '' : `; left to its health checks: ${out.join(', ')}`;
    return {
      outcome: 'done',
      changed,
      detail: `${DONE[wanted][changed ? 'changed' : 'same']}${nothing}${left}`,
    };
  }

  async #untilQuiet(changed: boolean, untilMs: number, cancel: AbortSignal): Promise<RotationResult> {
    const { clock, stopping } = this.#deps;
    const { detail, ...done } = this.#done('out', changed);
    const admin = this.#admin;
    if (admin === undefined)
      return {
        ...done,
        detail: `${detail}; whether requests are left cannot be told: Envoy cannot be asked`,
      };
    const late = new AbortController();
    const disarm = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () => {
      late.abort(new Error('there was always a request in progress'));
    });
    try {
      await untilDrained({
        clock,
        admin,
        stopped: AbortSignal.any([stopping, cancel, late.signal]),
      });
      return { ...done, detail: `${detail}; its last request is done` };
    } catch (error) {
      if (isAborted(stopping)) return stoppingNow(changed);
      return { outcome: 'pending', changed, detail: `${detail}, but not quiet: ${describeError(error)}` };
    } finally {
      disarm();
    }
  }

  #whyPending(wanted: 'out' | 'in'): string {
    const what = wanted === 'out' ? 'not out of rotation yet' : 'not in rotation yet';
    if (this.#failure !== undefined)
      return `${what}, the agent goes on trying: ${describeError(this.#failure)}`;
    if (this.#tooEarly(wanted)) return `${what}: Envoy does not serve yet`;
    const out = wanted === 'in' ? stillOut(this.#record?.states ?? {}, this.#last.states) : [];
    if (out.length > 0) return `${what}: its health checks hold back ${out.join(', ')}`;
    return `${what}: peers may not know yet`;
  }
}

const DONE = {
  out: { changed: 'out of rotation', same: 'out of rotation already: nothing was changed' },
  in: { changed: 'in rotation again', same: 'in rotation already: nothing was changed' },
} as const;

function stoppingNow(changed: boolean): RotationResult {
  return { outcome: 'stopping', changed, detail: 'stopping: the dataplane leaves for good' };
}
