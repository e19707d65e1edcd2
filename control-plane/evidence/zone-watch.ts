import { pause, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { isOnline } from '../../kuma/overview.ts';
import { DEFAULT_FACTS, takesDataplanes, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { Surroundings, ZoneStanding } from './guards.pure.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Store } from '../ports.ts';
import { ControlPlaneClock } from './control-plane-clock.ts';
import { FleetListing, type FleetPage } from './fleet-listing.ts';
import { Instances } from './instances.ts';
import { Presence } from './presence.ts';
import { ZoneRegistry } from './zone-registry.ts';
import type { InstanceLook } from '../control-planes/instance-look.pure.ts';

export interface ZoneWatchDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly controlPlanes: ControlPlanes;
  readonly store: Pick<Store, 'bindZone' | 'instances' | 'noteInstances' | 'nowMs'>;
  /** As `thisHost()` names it: another one than all others that share the store. */
  readonly host: string;
  /** Called when a control plane answers again. */
  readonly onReturned: () => void;
  /** As for {@link Presence}. */
  readonly busyShare?: (() => number) | undefined;
}

/** Dataplanes by whether the control plane shows a stream of them open. */
export interface ZoneSize {
  readonly online: number;
  readonly offline: number;
}

/** A configured control plane, as it was seen last. */
export interface WatchedControlPlane extends InstanceLook {
  /** For how long this process has seen this instance, in ms; 0 if it does not answer. */
  readonly upMs: number;
}

const LOOK_INTERVAL_MS = 2_000;
const LOOK_BUDGET_MS = 2_000;
const SLACK_MS = 500;
/** An instance that no look has shown for so long is forgotten. */
const FORGET_AFTER_MS = 600_000;

/** Watches the zone's control planes: since when each answers, and their dataplanes. */
export class ZoneWatch {
  readonly #deps: ZoneWatchDeps;
  readonly #startedAtMs: number;
  /** By instance id, monotonic ms. */
  readonly #instances = new Map<string, { readonly firstMs: number; lastMs: number }>();
  readonly presence: Presence;
  /** The control plane's clock, from its answers. */
  readonly clock: ControlPlaneClock;
  /** Every dataplane. */
  readonly fleet: FleetListing;
  readonly #registry: ZoneRegistry;
  readonly #known = new Instances();
  #size: ZoneSize | undefined;
  #looks: readonly InstanceLook[] = [];
  /** Of the control planes that answered the last look. */
  #answering: readonly ControlPlaneFacts[] = [];
  #syncing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  /** Services of the dataplanes in the last listing. */
  #meshes: ReadonlySet<string> = new Set();

  constructor(deps: ZoneWatchDeps) {
    this.#deps = deps;
    this.presence = new Presence(deps.clock, deps.busyShare);
    this.clock = new ControlPlaneClock(deps.clock);
    this.#registry = new ZoneRegistry(deps);
    this.fleet = new FleetListing({
      ...deps,
      onListed: (page) => {
        this.#noteListed(page);
      },
    });
    this.#startedAtMs = deps.clock.monotonicMs();
  }

  /** Looks now and again until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look();
      await pause(this.#deps.clock, LOOK_INTERVAL_MS, signal);
    }
  }

  /** Never throws. */
  async look(): Promise<void> {
    const looks = await this.#lookAtAll();
    const returned = this.#note(looks);
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined;
    });
    // The first look reads the store before anything is judged. Later looks do not wait for a store that is away.
    if (this.#registry.standing.kind === 'unchecked') await this.#syncing;
    if (returned) this.#deps.onReturned();
  }

  /** Whether the control planes are of the zone that the store belongs to. */
  get zone(): ZoneStanding {
    return this.#registry.standing;
  }

  /** Looks at once; concurrent callers share the look. Never throws. */
  lookNow(): Promise<void> {
    this.#looking ??= this.look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** URLs of the control planes that did not answer the last look. */
  get silentControlPlanes(): readonly string[] {
    return this.#looks.filter(({ seen }) => 'problem' in seen).map(({ url }) => url);
  }

  get surroundings(): Surroundings {
    const answering = this.#answering;
    const ids = answering.flatMap(({ instanceId }) => (instanceId === undefined ? [] : [instanceId]));
    const nowMs = this.#deps.clock.monotonicMs();
    const upMs = nowMs - this.#startedAtMs;
    const { ended, doubtful } = this.#known.view;
    return {
      deregistrationDelayMs: answering[0]?.deregistrationDelayMs,
      upMs,
      liveInstances: new Set(ids),
      endedInstances: ended,
      doubtfulInstances: doubtful,
      zone: this.#registry.standing,
      silentControlPlanes: this.#looks.length - answering.length,
      mode: answering.map(({ mode }) => mode).find((mode) => !takesDataplanes(mode)) ?? answering[0]?.mode,
      steadyMs: this.steadyMs,
    };
  }

  /** For how long this process has seen every control plane that answers, in ms; 0 if none does. */
  get steadyMs(): number {
    const answering = this.#answering;
    if (answering.length === 0) return 0;
    const nowMs = this.#deps.clock.monotonicMs();
    const seenMs = answering.flatMap(({ instanceId: id }) =>
      id === undefined ? [] : [nowMs - (this.#instances.get(id)?.firstMs ?? nowMs)],
    );
    return Math.min(this.presence.unbrokenMs, ...seenMs);
  }

  /** Whether the zone has this mesh, as far as its dataplanes tell. Kuma makes `default` by itself. */
  knowsMesh(mesh: string): boolean {
    return mesh === 'default' || this.#meshes.has(mesh);
  }

  /** Of the first control plane that answers; Kuma's defaults until one does. */
  get facts(): ControlPlaneFacts {
    for (const { seen } of this.#looks) if ('facts' in seen) return seen.facts;
    return DEFAULT_FACTS;
  }

  get controlPlanes(): readonly WatchedControlPlane[] {
    const nowMs = this.#deps.clock.monotonicMs();
    return this.#looks.map((look) => {
      const id = 'facts' in look.seen ? look.seen.facts.instanceId : undefined;
      const known = id === undefined ? undefined : this.#instances.get(id);
      return { ...look, upMs: known === undefined ? 0 : nowMs - known.firstMs };
    });
  }

  /** How many dataplanes the zone had at the last listing; `undefined` before the first. */
  get size(): ZoneSize | undefined {
    return this.#size;
  }

  #noteListed({ clockMs, overviews }: FleetPage): void {
    const online = overviews.filter(({ subscriptions }) => subscriptions.some(isOnline)).length;
    this.#size = { online, offline: overviews.length - online };
    const nowMs = this.#deps.clock.monotonicMs();
    this.clock.note(clockMs);
    this.#meshes = new Set(overviews.map(({ mesh }) => mesh));
    this.#known.noteStreams(overviews, nowMs);
    for (const id of this.#known.takeUnnamed(nowMs)) this.#deps.events.controlPlaneUnnamed(id);
  }

  async #sync(): Promise<void> {
    await this.#registry.check(this.#answering);
    await this.#registry.sync(this.#known);
  }

  /** A control plane that hangs counts as silent; the answers of the others count. */
  async #lookAtAll(): Promise<readonly InstanceLook[]> {
    const { clock, controlPlanes, events } = this.#deps;
    const patience = new AbortController();
    const disarm = clock.after(LOOK_BUDGET_MS, () => {
      const text = `Cannot reach a control plane: no answer within ${LOOK_BUDGET_MS} ms`;
      patience.abort(new OperationalError('DEADLINE_EXCEEDED', text));
    });
    try {
      const action = 'look at the control planes';
      return await withDeadline({ clock, action, budgetMs: LOOK_BUDGET_MS + SLACK_MS }, () =>
        controlPlanes.look(patience.signal),
      );
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      // An earlier look is no evidence of the present.
      return this.#looks.map(({ url }) => ({ url, seen: { problem: describeError(error) } }));
    } finally {
      disarm();
    }
  }

  /** @returns whether an instance answers that did not before */
  #note(looks: readonly InstanceLook[]): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    let returned = false;
    looks.forEach((look, at) => {
      if ('problem' in look.seen) {
        const before = this.#looks[at]?.seen;
        // A control plane that never answered is news as well: a wrong URL or certificate is wrong from the start.
        if (before === undefined || 'facts' in before)
          this.#deps.events.controlPlaneLost(look.url, look.seen.problem);
        return;
      }
      const { instanceId = look.url, mode } = look.seen.facts;
      const known = this.#instances.get(instanceId);
      if (known === undefined || isSilent(this.#looks[at])) {
        returned = true;
        this.#deps.events.controlPlaneFound(look.url, look.seen.facts);
        if (!takesDataplanes(mode)) this.#deps.events.controlPlaneWrong(look.url, mode ?? '');
      }
      this.#instances.set(instanceId, { firstMs: known?.firstMs ?? nowMs, lastMs: nowMs });
    });
    for (const [id, { lastMs }] of this.#instances) {
      if (nowMs - lastMs > FORGET_AFTER_MS) this.#instances.delete(id);
    }
    this.#looks = looks;
    this.#answering = looks.flatMap(({ seen }) => ('facts' in seen ? [seen.facts] : []));
    this.#known.noteLooks(looks, nowMs);
    return returned;
  }
}

function isSilent(look: InstanceLook | undefined): boolean {
  return look === undefined || 'problem' in look.seen;
}
