import { isAborted } from '../../kernel/aborted.ts';
import { sleep, type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { Made } from '../../kuma/object-wish.ts';
import { rememberStates, stillOut, type PortStates } from '../../kuma/port-states.ts';
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
import type { ObjectKeeper, RotationWish } from './keeper.ts';

export interface RotationDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly keeper: Pick<ObjectKeeper, 'facts' | 'settleMs' | 'serves' | 'wasReady' | 'isDoubtful' | 'wake'>;
  /** The record of an earlier run; `undefined` if the dataplane is in rotation. */
  readonly initial: RotationRecord | undefined;
  /** The port states of its template, if any. */
  readonly template: PortStates;
  /** The agent puts the object NotReady before kuma-dp starts, and only the agent makes it ready. */
  readonly owned: boolean;
  /** Called before the object changes, and at the end. */
  readonly note: (record: RotationRecord | undefined) => void;
  /** Aborts when a stop begins: the rotation does not change after that. */
  readonly stopping: AbortSignal;
}

export interface RotationRequest {
  readonly wanted: 'out' | 'in';
  /**
   * Whether to wait until peers know, and in a drain until the last request is done. Otherwise the call returns once
   * the object is changed.
   */
  readonly wait: boolean;
  readonly timeoutMs: number;
  /** Aborts when no caller waits any more. */
  readonly cancel: AbortSignal;
}

/**
 * Envoy checks its own health every second by default, and then reports it: until that report an older one may be
 * current.
 */
const STALE_REPORT_MS = 1_500;
const POLL_MS = 50;
/** After this time the agent reports a service probe that has not made its port ready. */
const PROBE_PATIENCE_MS = 15_000;

/** The state of the wanted rotation. All times are monotonic. */
interface RotationProgress {
  readonly wantedAtMs: number;
  /** When the object was first seen so, or seen so again. */
  readonly changedAtMs?: number;
  /** When a look last found the object as wanted, without a write by this agent. */
  readonly heldAtMs?: number;
  readonly failure?: unknown;
  /** Whether the failure was logged. */
  readonly warned?: boolean;
}

const NO_OBJECT: Made = { found: false, changed: false, states: {} };

/** Takes the dataplane out of rotation and back while everything keeps running. The keeper writes the object. */
export class Rotation implements RotationWish {
  readonly #deps: RotationDeps;
  #record: RotationRecord | undefined;
  #admin: EnvoyAdmin | undefined;
  #progress: RotationProgress;
  #last: Made = NO_OBJECT;

  constructor(deps: RotationDeps) {
    this.#deps = deps;
    const { clock, initial, template } = deps;
    this.#progress = { wantedAtMs: clock.monotonicMs() };
    this.#record =
      initial === undefined ? undefined : { ...initial, states: { ...template, ...initial.states } };
  }

  get record(): RotationRecord | undefined {
    return this.#record;
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

  /** How long a stop must still wait until peers have dropped the endpoint. */
  get settleLeftMs(): number {
    const { clock, keeper } = this.#deps;
    const { changedAtMs } = this.#progress;
    const outForMs =
      this.isWantedOut && changedAtMs !== undefined && this.#holds(changedAtMs)
        ? clock.monotonicMs() - changedAtMs
        : undefined;
    return settleLeftMs(keeper.settleMs, outForMs);
  }

  /** Out of rotation, Envoy must not report itself healthy: Kuma's HDS would put it back. */
  onEnvoySeen(admin: EnvoyAdmin | undefined): void {
    this.#admin = admin;
    if (this.#record !== undefined) this.#deps.keeper.wake();
  }

  /** Idempotent. Never throws. After the time limit the agent keeps trying. */
  async change(request: RotationRequest): Promise<RotationResult> {
    const { clock, stopping } = this.#deps;
    const { wanted, cancel, timeoutMs } = request;
    const untilMs = clock.monotonicMs() + timeoutMs;
    const changed = this.#want(wanted);
    const settled = (): boolean => (request.wait ? this.#settled(wanted) : this.#isChanged(wanted));
    while (!settled()) {
      if (stopping.aborted) return stoppingNow(changed);
      if (cancel.aborted || this.#overruled(wanted))
        return {
          outcome: 'refused',
          changed,
          detail: 'Cancelled: the caller hung up, or a newer drain or resume replaced this one',
        };
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
    const { clock, events, template, owned, note, keeper } = this.#deps;
    const fresh = owned && !keeper.wasReady ? template : {};
    const since = new Date(clock.wallMs()).toISOString();
    this.#record = { wanted, since, states: before?.states ?? fresh };
    this.#progress = { wantedAtMs: clock.monotonicMs() };
    events.rotationRequested(wanted);
    note(this.#record);
    keeper.wake();
    return true;
  }

  /** Envoy is told first: until its next report, an older one may undo the change. */
  async prepare(): Promise<void> {
    const say = this.isWantedOut ? 'fail' : 'ok';
    await this.#admin?.healthcheck(say).catch(this.#deps.events.healthcheckUntold);
  }

  onMade(made: Made): number {
    const record = this.#record;
    if (record === undefined) return 0;
    this.#last = made;
    this.#progress = { ...this.#progress, failure: undefined, warned: false };
    if (record.wanted === 'out' && this.#remember(record, made)) return 0;
    this.#onTurned(record.wanted, made);
    if (record.wanted === 'in' && this.#isIn(record)) {
      this.#record = undefined;
      this.#deps.note(undefined);
      return 0;
    }
    return this.#lookAgainMs();
  }

  onFailed(error: unknown): number {
    const { wanted = 'in' } = this.#record ?? {};
    if (this.#progress.warned !== true) this.#deps.events.rotationFailed(wanted, error);
    this.#progress = { ...this.#progress, failure: error, warned: true };
    return this.#lookAgainMs();
  }

  #lookAgainMs(): number {
    return lookAgainMs(this.#deps.clock.monotonicMs() - this.#progress.wantedAtMs, this.#last.found);
  }

  /**
   * Records the change before it is made, so that it can be undone after a crash in between.
   *
   * @returns whether the object waits for that
   */
  #remember(record: RotationRecord, { found, states }: Made): boolean {
    if (!found || this.#progress.changedAtMs !== undefined) return false;
    const waits = Object.keys(states).some((port) => record.states[port] === undefined);
    this.#record = { ...record, states: rememberStates(record.states, states) };
    this.#deps.note(this.#record);
    return waits;
  }

  #onTurned(wanted: 'out' | 'in', made: Made): void {
    const { clock, events } = this.#deps;
    const nowMs = clock.monotonicMs();
    const first = this.#progress.changedAtMs === undefined;
    this.#progress = {
      ...this.#progress,
      ...(first || made.changed ? { changedAtMs: nowMs } : { heldAtMs: nowMs }),
    };
    if (first) events.rotationChanged(wanted, made.found);
  }

  /** The object has been as wanted for the settle time, and no late health report has undone it. */
  #isIn({ states }: RotationRecord): boolean {
    const { changedAtMs, wantedAtMs, failure } = this.#progress;
    if (changedAtMs === undefined || failure !== undefined || this.#isDoubtful('in')) return false;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - changedAtMs < this.#deps.keeper.settleMs) return false;
    return stillOut(states, this.#last.states).length === 0 || nowMs - wantedAtMs > PROBE_PATIENCE_MS;
  }

  #isChanged(wanted: 'out' | 'in'): boolean {
    if (wanted === 'in' && this.#record === undefined) return true;
    return (
      this.#progress.changedAtMs !== undefined && this.#record?.wanted === wanted && !this.#isDoubtful(wanted)
    );
  }

  #settled(wanted: 'out' | 'in'): boolean {
    return wanted === 'in' ? this.#record === undefined : this.stage === 'out' && !this.#isDoubtful('out');
  }

  /** An earlier write may still be carried out over this one. */
  #isDoubtful(wanted: 'out' | 'in'): boolean {
    return this.#deps.keeper.isDoubtful(wanted === 'in' ? 'ready' : 'out');
  }

  /** An owned object becomes ready when its Envoy serves, and not before. */
  #tooEarly(wanted: 'out' | 'in'): boolean {
    const { owned, keeper } = this.#deps;
    return wanted === 'in' && owned && !keeper.serves;
  }

  /** An earlier health report may put it back once. With HDS on, only a look after that counts. */
  #holds(changedAtMs: number): boolean {
    const { hdsDelayMs } = this.#deps.keeper.facts;
    return hdsDelayMs === undefined || (this.#progress.heldAtMs ?? 0) >= changedAtMs + STALE_REPORT_MS;
  }

  #overruled(wanted: 'out' | 'in'): boolean {
    return (this.#record?.wanted ?? 'in') !== wanted;
  }

  #done(wanted: 'out' | 'in', changed: boolean): RotationResult {
    const nothing = this.#last.found || !changed ? '' : '; it has no object at its control plane now';
    const out = wanted === 'in' ? stillOut({}, this.#last.states) : [];
    const left = out.length === 0 || !changed ? '' : `; their health checks decide: ${out.join(', ')}`;
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
        detail: `${detail}; cannot tell whether requests remain: Envoy does not answer`,
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
      return { outcome: 'pending', changed, detail: `${detail}, but still in use: ${describeError(error)}` };
    } finally {
      disarm();
    }
  }

  #whyPending(wanted: 'out' | 'in'): string {
    const what = wanted === 'out' ? 'not out of rotation yet' : 'not in rotation yet';
    if (this.#progress.failure !== undefined)
      return `${what}; the agent keeps trying: ${describeError(this.#progress.failure)}`;
    if (this.#tooEarly(wanted)) return `${what}: Envoy does not serve yet`;
    if (this.#isDoubtful(wanted)) return `${what}: a write without an answer may still change the object`;
    const out = wanted === 'in' ? stillOut(this.#record?.states ?? {}, this.#last.states) : [];
    if (out.length > 0) return `${what}: its health checks fail for ${out.join(', ')}`;
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
