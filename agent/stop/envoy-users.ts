import { pause, sleep } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { UsedProxy } from '../identity/used-proxy.pure.ts';
import type { EnvoyAdmin, StopEvidence } from '../ports.ts';
import { holdOf, latestEndMs, type HoldKnowledge } from './hold.pure.ts';
import {
  callsSince,
  lookBefore,
  readTotals,
  rememberLook,
  type RememberedLook,
} from '../envoy/call-memory.pure.ts';
import { ACTIVITY_STATS_FILTER, outboundPorts } from '../envoy/envoy-activity.pure.ts';
import type { Drained } from './phases.pure.ts';
import { EnvoyGauge } from '../envoy/envoy-gauge.ts';
import { followUse, quietFrom, type EnvoyUse } from '../envoy/envoy-use.pure.ts';
import { HoldLog, type HoldLogDeps } from './hold-log.ts';
import { HostSigns } from './host-signs.ts';

export interface EnvoyUsersDeps extends HoldLogDeps {
  readonly host: StopEvidence;
  readonly outboundHold: 'auto' | number;
  readonly externalDrainMs: number | undefined;
}

/** The progress of the stop's steps. */
export type StopKnowledge = Pick<
  HoldKnowledge,
  'toldAtMs' | 'settledAtMs' | 'deregistration' | 'healthCheckMs' | 'peersTold' | 'silentControlPlanes'
>;

/** The number of looks at a serving Envoy in each drain time. */
const LOOKS_PER_DRAIN_TIME = 2;
const SHORTEST_LOOK_INTERVAL_MS = 5_000;
/** The intervals while the peers are informed, and during the drain. */
const SETTLE_POLL_MS = 500;
const DRAIN_POLL_MS = 100;
const PROBE_INTERVAL_MS = 500;
/** After this many failures in a row the admin counts as silent. */
const FAILURES_ALLOWED = 5;

/** Finds out who still uses Envoy: records what the application did before the stop, and watches it during the stop. */
export class EnvoyUsers {
  readonly #deps: EnvoyUsersDeps;
  readonly #ownSeen = new Set<string>();
  #looks: readonly RememberedLook[] = [];
  #stop: StopWatch | undefined;

  constructor(deps: EnvoyUsersDeps) {
    this.#deps = deps;
  }

  /**
   * Looks at intervals at what the application calls, until `stopping` aborts. Costs one request to Envoy's admin each
   * time.
   */
  async remember(admin: EnvoyAdmin, drainTimeMs: number, stopping: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const intervalMs = Math.max(SHORTEST_LOOK_INTERVAL_MS, drainTimeMs / LOOKS_PER_DRAIN_TIME);
    await pause(clock, intervalMs, stopping);
    while (!stopping.aborted) {
      const statsText = await admin.stats(ACTIVITY_STATS_FILTER).catch(() => undefined);
      if (statsText !== undefined) {
        const look = { atMs: clock.monotonicMs(), totals: readTotals(statsText) };
        this.#looks = rememberLook(this.#looks, look, drainTimeMs);
      }
      await pause(clock, intervalMs, stopping);
    }
  }

  /** Called when a stop begins: looks at what only its first moment shows. */
  onStop(admin: EnvoyAdmin | undefined, proxy: UsedProxy, over: AbortSignal): void {
    this.#stop ??= new StopWatch(this.#deps, {
      beganAtMs: this.#deps.clock.monotonicMs(),
      admin,
      proxy,
      over,
      looks: this.#looks,
      ownSeen: this.#ownSeen,
    });
  }

  /**
   * Resolves once Envoy is idle, or at the time when kuma-dp alone would have ended it.
   *
   * @throws the reason of `over`
   */
  async untilUnused(stop: () => StopKnowledge): Promise<Drained> {
    if (this.#stop === undefined) throw new TypeError('no stop has begun');
    return this.#stop.untilUnused(stop);
  }
}

interface StopContext {
  readonly beganAtMs: number;
  readonly admin: EnvoyAdmin | undefined;
  readonly proxy: UsedProxy;
  readonly over: AbortSignal;
  readonly looks: readonly RememberedLook[];
  readonly ownSeen: Set<string>;
}

/** The users of Envoy during one stop. */
class StopWatch {
  readonly #deps: EnvoyUsersDeps;
  readonly #context: StopContext;
  readonly #gauge: EnvoyGauge | undefined;
  readonly #draining = new AbortController();
  readonly #settled: Promise<unknown>;
  readonly #signs: HostSigns;
  readonly #holds: HoldLog;
  #seen: { readonly use: EnvoyUse | undefined; readonly called: boolean; readonly failures: number } = {
    use: undefined,
    called: false,
    failures: 0,
  };

  constructor(deps: EnvoyUsersDeps, context: StopContext) {
    this.#deps = deps;
    this.#context = context;
    this.#signs = new HostSigns(deps.host, context.proxy.applicationPorts);
    this.#holds = new HoldLog(deps);
    this.#gauge = context.admin === undefined ? undefined : new EnvoyGauge(context.admin);
    this.#settled = Promise.all([this.#signs.atFirst(), this.#watchSettling()]);
  }

  async untilUnused(stop: () => StopKnowledge): Promise<Drained> {
    const { clock } = this.#deps;
    const { over } = this.#context;
    this.#draining.abort(new Error('The drain begins'));
    await this.#settled;
    // Until now peers may have sent new requests.
    this.#seen = { ...this.#seen, use: quietFrom(this.#seen.use, clock.monotonicMs()) };
    for (let probedAtMs = clock.monotonicMs(); ;) {
      over.throwIfAborted();
      await this.#look();
      if (clock.monotonicMs() - probedAtMs >= PROBE_INTERVAL_MS) {
        await this.#signs.probe();
        probedAtMs = clock.monotonicMs();
      }
      const known = this.#knowledge(stop());
      const hold = holdOf(known);
      this.#holds.note(hold);
      if (hold === undefined) {
        const late = known.nowMs >= latestEndMs(known);
        return { outcome: late ? 'time is up' : 'quiet', held: this.#holds.words };
      }
      const leftMs = Math.max(0, hold.untilMs - clock.monotonicMs());
      await sleep(clock, this.#gauge === undefined ? leftMs : DRAIN_POLL_MS, over);
    }
  }

  #knowledge(stop: StopKnowledge): HoldKnowledge {
    const { clock, outboundHold, externalDrainMs } = this.#deps;
    const { proxy } = this.#context;
    const signs = this.#signs;
    return {
      ...stop,
      nowMs: clock.monotonicMs(),
      stopBeganAtMs: this.#context.beganAtMs,
      drainTimeMs: proxy.drainTimeMs,
      proxy: proxy.kind,
      // A reading from before the admin's silence is out of date.
      envoy: this.#seen.failures === 0 ? this.#seen.use : undefined,
      application: { ports: signs.ports, refusedAtFirst: signs.refusedAtFirst, called: this.#seen.called },
      onlyProxyReplaced: signs.onlyProxyReplaced,
      outboundHold,
      externalDrainMs,
    };
  }

  /** A call while settling proves that the application lives. */
  async #watchSettling(): Promise<void> {
    const { clock } = this.#deps;
    const ended = AbortSignal.any([this.#draining.signal, this.#context.over]);
    while (!ended.aborted && this.#gauge !== undefined) {
      await this.#look();
      await pause(clock, SETTLE_POLL_MS, ended);
    }
  }

  async #look(): Promise<void> {
    const { clock, events } = this.#deps;
    if (this.#gauge === undefined) return;
    try {
      const { activity, totals } = await this.#gauge.read();
      const atMs = clock.monotonicMs();
      const own = this.#ownConnections(activity.outbound.open.length > 0);
      const { use, called } = this.#seen;
      const before = use === undefined ? this.#before(totals, own.begun) : { called, moved: false };
      this.#seen = {
        use: followUse(use, { atMs, activity, own, movedBefore: before.moved }),
        called: before.called,
        failures: 0,
      };
    } catch (error) {
      this.#seen = { ...this.#seen, failures: this.#seen.failures + 1 };
      if (this.#seen.failures === FAILURES_ALLOWED && !this.#context.over.aborted) {
        events.drainBlind(describeError(error));
      }
    }
  }

  /** The application's activity before the stop, as remembered. */
  #before(
    totals: ReadonlyMap<string, number>,
    own: number,
  ): { readonly called: boolean; readonly moved: boolean } {
    const { looks, proxy, beganAtMs } = this.#context;
    const directions = this.#gauge?.directions;
    if (directions === undefined) return { called: false, moved: false };
    const longAgo = lookBefore(looks, beganAtMs, proxy.drainTimeMs);
    const lately = lookBefore(looks, beganAtMs, SHORTEST_LOOK_INTERVAL_MS);
    return {
      called: callsSince(longAgo, totals, directions).calls > own,
      moved: lately === undefined || callsSince(lately, totals, directions).moved,
    };
  }

  #ownConnections(some: boolean): { readonly open: number; readonly begun: number } {
    const { ownSeen } = this.#context;
    if (!some || this.#gauge === undefined) return { open: 0, begun: ownSeen.size };
    const open = this.#deps.host.ownConnections(outboundPorts(this.#gauge.directions));
    for (const connection of open) ownSeen.add(connection);
    return { open: open.size, begun: ownSeen.size };
  }
}
