import { isAborted } from '../../kernel/aborted.ts';
import type { Clock } from '../../kernel/clock.ts';
import { hasCode } from '../../kernel/errors.ts';
import { spread } from '../../kernel/spread.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { describeKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import type { Made, Want, Wish } from '../../kuma/object-wish.ts';
import type { AgentEvents } from '../events.ts';
import type { Departure } from '../ports.ts';
import type { Confirmed, Deregistration } from '../stop/phases.pure.ts';
import { Attendance } from './attendance.ts';
import { confirmGone } from './confirm-gone.ts';
import type { Endpoints } from './endpoints.ts';
import { graceAfter } from './grace.ts';
import { GoneWatch, type GoneWatchDeps } from './gone-watch.ts';
import { planObject, type ObjectPlan } from './object-plan.pure.ts';
import { OutstandingWrites } from './outstanding-writes.ts';
import { Removal } from './removal.ts';
import type { RotationRecord } from './rotation-record.pure.ts';
import { WorkLoop } from './work-loop.ts';

export interface ObjectKeeperDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  readonly endpoints: Endpoints;
  readonly departure: Departure;
  /** The rendered Dataplane, where there is one to read. */
  readonly template: DataplaneResource | undefined;
  /** `false` for an external dataplane: the agent does everything but delete it. */
  readonly mayDelete: boolean;
  /** When the run began, before kuma-dp was started (monotonic); `undefined` where that is not known. */
  readonly beganAtMs?: number;
}

/** The rotation that a drain or resume wants, and its callbacks. */
export interface RotationWish {
  /** `undefined` while in rotation. */
  readonly record: RotationRecord | undefined;
  /** Called before the object's ports change. */
  prepare(): Promise<void>;
  /** @returns after how many ms to look again */
  onMade(made: Made): number;
  onFailed(error: unknown): number;
}

/** The limit of one attempt to make the object ready, for which nothing waits. */
const KEEP_BUDGET_MS = 5_000;
/** The limit of one attempt of a drain or resume: its caller waits, and a failure is retried. */
const ROTATION_BUDGET_MS = 3_000;
/** The interval while Envoy does not serve yet; longer than most starts. */
const HIDDEN_LOOK_MS = 2_000;
/** The interval while an abandoned write may still be carried out. */
const DOUBT_LOOK_MS = 1_000;

/**
 * Keeps the dataplane's object at its control plane as the run wants it, from the start to the stop. Nothing else in
 * the agent writes it: one loop makes one attempt at a time, each for the newest wish, and looks again as long as the
 * result may be undone.
 *
 * When the agent has taken over an object that the control plane created, the control plane still deletes it by name,
 * up to its deregistration delay later, even if the agent has put it since. So until Envoy serves, the agent puts a
 * missing object again.
 *
 * @see kuma pkg/xds/server/callbacks/dataplane_lifecycle.go, deregister
 */
export class ObjectKeeper {
  readonly #deps: ObjectKeeperDeps;
  readonly #writes: OutstandingWrites;
  readonly #loop: WorkLoop;
  readonly #attendance: Attendance;
  readonly #run: KeeperFacts = {
    owned: false,
    configuration: 'unknown',
    serving: false,
    leaving: false,
    ready: 'no',
    rotation: undefined,
  };
  /** When the object was last seen not ready, as wanted before Envoy serves. */
  #hiddenAtMs = 0;
  /** The state of the writes at the last look at the object. */
  #seenNews = 0;
  #gone: GoneWatch | undefined;
  #removal: { readonly removal: Removal; readonly done: Promise<Deregistration> } | undefined;

  constructor(deps: ObjectKeeperDeps) {
    this.#deps = deps;
    this.#writes = new OutstandingWrites(deps.clock);
    this.#attendance = new Attendance(deps);
    this.#loop = new WorkLoop(deps.clock, (changed) => this.#act(changed));
  }

  get facts(): ControlPlaneFacts {
    return this.#deps.endpoints.facts;
  }

  get settleMs(): number {
    return this.#deps.endpoints.settleMs;
  }

  /** Control planes that did not answer in a stop, by URL. */
  get silentControlPlanes(): readonly string[] {
    return this.#deps.endpoints.silentControlPlanes;
  }

  get mayDelete(): boolean {
    return this.#deps.mayDelete;
  }

  /** Whether the agent has ever marked the object ready; `false` if only the control plane has. */
  get wasReady(): boolean {
    return this.#run.ready === 'yes';
  }

  /** Whether Envoy serves, as far as this run knows. */
  get serves(): boolean {
    return this.#run.serving;
  }

  /** Whether an earlier write may still undo `state`, or may have done so since the object was last seen. */
  isDoubtful(state: Wish['state']): boolean {
    return this.#writes.against({ state }) || this.#writes.news !== this.#seenNews;
  }

  /**
   * Puts the object, not ready, in place of any object of that name, and owns it from then on.
   *
   * @throws what the endpoints said last, or the reason of `cancel`
   */
  async claim(budgetMs: number, cancel: AbortSignal): Promise<void> {
    const want: Want = { wish: { state: 'hidden', takeOver: true }, template: this.#deps.template };
    await this.#loop.do(async () => {
      await this.#make(want, { action: 'put', budgetMs, cancel });
      this.#run.owned = true;
      this.#hiddenAtMs = this.#deps.clock.monotonicMs();
    });
  }

  /** `given`: the control plane has accepted this run as the dataplane. `missing`: it has not, so far. */
  onConfiguration(configuration: 'missing' | 'given'): void {
    this.#run.configuration = configuration;
    if (configuration === 'given' && this.#attendance.isMissing) this.wake();
  }

  /** With a companion configured: whether one watches over this run. */
  onCompanion(isAttached: boolean): void {
    // Each failed attempt to attach repeats this: it must not end the work in progress at the object.
    if (this.#attendance.onCompanion(isAttached)) this.wake();
  }

  /** Envoy serves from now on. */
  onServing(): void {
    this.#run.serving = true;
    this.wake();
  }

  /** The controller of drain and resume. */
  follow(rotation: RotationWish): void {
    this.#run.rotation = rotation;
    this.wake();
  }

  /** The wish has changed: an attempt for the old one gets a moment to end. */
  wake(): void {
    this.#loop.wake();
  }

  /**
   * Deletes the object by `byMs` (monotonic); the agent never puts it again. Never throws. A second call joins the same
   * attempt.
   */
  deregister(byMs: number): Promise<Deregistration> {
    const { clock, endpoints, mayDelete } = this.#deps;
    this.#run.leaving = true;
    if (!mayDelete) return Promise.resolve(kept('external: the operator deletes it'));
    if (!this.#mayBeOurs) return Promise.resolve(kept(STRANGER));
    if (this.#removal !== undefined) return this.#removal.done;
    const removal = new Removal({ clock, endpoints, departure: this.#leaver }, byMs);
    const done = this.#loop
      .do(() => removal.run())
      .finally(() => {
        this.#removal = undefined;
      });
    this.#removal = { removal, done };
    return done;
  }

  /** Called at the second stop request. */
  hasten(): void {
    this.#removal?.removal.hasten();
  }

  /**
   * Called when the object is gone and Envoy still serves: watches whether it stays away, and deletes it again if the
   * control plane puts it back. Ends with {@link confirm}.
   */
  watchGone(watch: Pick<GoneWatchDeps, 'onDeletedAgain' | 'hasReconnected'>): void {
    const { template, clock, endpoints, departure } = this.#deps;
    const mayReturn =
      (template !== undefined && !this.#run.owned) || this.#writes.against({ state: 'absent' });
    if (!mayReturn || this.#gone !== undefined) return;
    this.#gone = new GoneWatch({ clock, endpoints, departure, ...watch });
    this.wake();
  }

  /** Whether the deleted object has stayed away, as far as {@link watchGone} has seen. */
  get isGone(): boolean {
    return this.#gone?.isGone ?? true;
  }

  /** Called when kuma-dp has ended and nothing waits any longer. */
  giveUp(): void {
    this.#removal?.removal.giveUp();
  }

  /** Whether the object is still gone at the end, by `byMs` (monotonic). Never throws. */
  confirm(byMs: number): Promise<Confirmed> {
    const { clock, endpoints, departure, mayDelete } = this.#deps;
    if (!mayDelete)
      return Promise.resolve({ outcome: 'left', reason: 'its owner deletes it, not the agent' });
    if (!this.#mayBeOurs) return Promise.resolve({ outcome: 'left', reason: STRANGER });
    this.#gone = undefined;
    return this.#loop.do(() => confirmGone({ clock, endpoints, departure, writes: this.#writes }, byMs));
  }

  close(): void {
    this.#loop.close();
    this.#writes.close();
    this.#deps.endpoints.close();
  }

  /**
   * Without a label, an object shows only name and address. If another run on this host has the name, the control plane
   * has refused this run from the start. An Envoy that was never seen, or that does not answer, proves nothing.
   */
  get #mayBeOurs(): boolean {
    return this.#isOurs || this.#run.configuration !== 'missing';
  }

  get #isOurs(): boolean {
    const { owned, configuration } = this.#run;
    return owned || configuration === 'given' || this.#writes.everSent;
  }

  /** The departing dataplane, with this run's marks. */
  get #leaver(): Departure {
    const { departure, beganAtMs, clock } = this.#deps;
    if (this.#isOurs || beganAtMs === undefined) return departure;
    return { ...departure, own: { ...departure.own, unprovenForMs: clock.monotonicMs() - beganAtMs } };
  }

  /** @returns after how many ms to look again */
  async #act(changed: AbortSignal): Promise<number | undefined> {
    if (this.#gone !== undefined) return this.#gone.look(changed);
    const plan = this.#plan();
    if (plan === undefined) return undefined;
    const tooEarlyMs = plan.why === 'unmark' ? this.#attendance.dueInMs : this.#hiddenForMs(plan);
    return tooEarlyMs > 0 ? tooEarlyMs : this.#attempt(plan, changed);
  }

  /** @returns after how many ms to look again */
  async #attempt(plan: ObjectPlan, changed: AbortSignal): Promise<number | undefined> {
    const { news } = this.#writes;
    try {
      if (plan.why === 'rotation') await this.#run.rotation?.prepare();
      if (changed.aborted) return undefined;
      const made = await this.#make(plan, {
        action: ACTIONS[plan.wish.state],
        budgetMs: plan.why === 'rotation' ? ROTATION_BUDGET_MS : KEEP_BUDGET_MS,
        changed,
      });
      this.#seenNews = news;
      return isAborted(changed) && plan.why === 'rotation' ? undefined : this.#onMade(plan, made);
    } catch (error) {
      return isAborted(changed) ? undefined : this.#onFailed(plan, error);
    }
  }

  /** The rest of the interval between two looks at an object that is not ready yet. */
  #hiddenForMs({ why, wish }: ObjectPlan): number {
    if (why !== 'keep' || wish.state !== 'hidden') return 0;
    const { clock, random } = this.#deps;
    return this.#hiddenAtMs + spread(HIDDEN_LOOK_MS, random()) - clock.monotonicMs();
  }

  #plan(): ObjectPlan | undefined {
    const { owned, serving, leaving, rotation } = this.#run;
    if (leaving) return undefined;
    return planObject({
      owned,
      serving,
      template: this.#deps.template,
      rotation: rotation?.record,
      doubtful: this.isDoubtful('ready'),
      madeReady: this.wasReady,
      unattended: this.#isUnattended,
      healthFeedback: this.facts.hdsDelayMs !== undefined,
    });
  }

  #onMade({ why, wish }: ObjectPlan, made: Made): number | undefined {
    const { events, clock } = this.#deps;
    if (why === 'rotation') return this.#run.rotation?.onMade(made);
    if (why === 'unmark') return this.#onUnmarked(made);
    if (wish.state === 'hidden') {
      if (made.changed && !made.found) events.registeredAgain();
      this.#hiddenAtMs = clock.monotonicMs();
      return this.#hiddenForMs({ why, wish, template: undefined });
    }
    if (why === 'mend' || this.#run.ready === 'yes') {
      if (made.changed) events.objectMended();
    } else {
      this.#run.ready = 'yes';
      events.dataplaneReady();
    }
    return this.isDoubtful('ready') ? DOUBT_LOOK_MS : 0;
  }

  #onUnmarked({ changed }: Made): number | undefined {
    if (changed) this.#deps.events.objectUnmarked();
    return this.#attendance.onLooked();
  }

  get #isUnattended(): boolean {
    const { endpoints, departure } = this.#deps;
    const mayBeMarked = departure.key.proxyType === 'dataplane' && this.#run.configuration === 'given';
    return mayBeMarked && this.#attendance.isMissing && endpoints.direct.length > 0;
  }

  #onFailed({ why, wish }: ObjectPlan, error: unknown): number | undefined {
    const { events, random } = this.#deps;
    if (why === 'rotation') return this.#run.rotation?.onFailed(error);
    if (why === 'unmark') return this.#attendance.onFailed();
    if (why === 'mend' || wish.state === 'hidden') return spread(HIDDEN_LOOK_MS, random());
    if (this.#run.ready === 'no') {
      this.#run.ready = 'failed';
      events.readinessFailed(error);
    }
    return hasCode(error, 'DATAPLANE_FOREIGN') ? undefined : 500 + random() * 1_000;
  }

  /** Repeats one wish until an endpoint has carried it out. */
  async #make(
    want: Want,
    how: {
      readonly action: string;
      readonly budgetMs: number;
      readonly cancel?: AbortSignal;
      readonly changed?: AbortSignal;
    },
  ): Promise<Made> {
    const { endpoints, departure } = this.#deps;
    const { action, budgetMs, cancel, changed } = how;
    const grace = graceAfter(this.#deps.clock, changed);
    try {
      const { value } = await endpoints.ask({
        action: `${action} dataplane ${describeKey(departure.key)}`,
        budgetMs,
        attempt: (endpoint, signal, attemptMs) =>
          this.#writes.attempt(want.wish, (attempt) => endpoint.make(departure, want, attempt), {
            signal,
            budgetMs: attemptMs,
          }),
        cancel: cancel ?? grace.over,
        // A companion puts back by itself what it has sidelined.
        ...(want.wish.state === 'unmarked' && { endpoints: endpoints.direct }),
      });
      return value;
    } finally {
      grace.end();
    }
  }
}

interface KeeperFacts {
  owned: boolean;
  /** Whether Envoy says that the control plane has given it a configuration. */
  configuration: 'unknown' | 'missing' | 'given';
  serving: boolean;
  leaving: boolean;
  /** `failed`: the agent could not make it ready yet, and has logged that. */
  ready: 'no' | 'failed' | 'yes';
  rotation: RotationWish | undefined;
}

const STRANGER = 'Envoy never got a configuration: the object belongs to another run';

const ACTIONS = {
  absent: 'delete',
  hidden: 'put',
  ready: 'make ready',
  unmarked: 'put back',
  out: 'take out of rotation',
} as const;

function kept(reason: string): Deregistration {
  return { outcome: 'kept', reason, endpoint: undefined, attempts: 0 };
}
