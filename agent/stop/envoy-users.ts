import { pause, sleep, type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { AgentEvents } from '../events.ts';
import type { UsedProxy } from '../identity/used-proxy.pure.ts';
import type { EnvoyAdmin, HostEvidence } from '../ports.ts';
import {
  describeHold,
  holdOf,
  latestEndMs,
  type Hold,
  type HoldCause,
  type HoldKnowledge,
} from './hold.pure.ts';
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

export interface EnvoyUsersDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly host: HostEvidence;
  readonly outboundHold: 'auto' | number;
  readonly externalDrainMs: number | undefined;
  /** Each change of what is waited for. */
  readonly onHold: (words: string | undefined) => void;
}

/** What only the steps of the stop know. */
export type StopKnowledge = Pick<
  HoldKnowledge,
  'toldAtMs' | 'settledAtMs' | 'deregistration' | 'healthCheckMs' | 'peersTold' | 'silentControlPlanes'
>;

/** Envoy is looked at so often while it serves, for each drain time. */
const LOOKS_PER_DRAIN_TIME = 2;
const SHORTEST_LOOK_INTERVAL_MS = 5_000;
/** While the peers are told, and while the drain goes on. */
const SETTLE_POLL_MS = 500;
const DRAIN_POLL_MS = 100;
const PROBE_INTERVAL_MS = 500;
/** After so many failures in a row the admin counts as silent. */
const FAILURES_ALLOWED = 5;
/** What is over sooner is not worth a line. */
const SAY_AFTER_MS = 1_000;

/** Finds out who still uses Envoy: remembers what the application did before the stop, and watches it during the stop. */
export class EnvoyUsers {
  readonly #deps: EnvoyUsersDeps;
  readonly #ownSeen = new Set<string>();
  #looks: readonly RememberedLook[] = [];
  #stop: StopWatch | undefined;

  constructor(deps: EnvoyUsersDeps) {
    this.#deps = deps;
  }

  /** Looks now and again at what the application calls, until `stopping` aborts. Costs one request of Envoy's admin. */
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

  /** A stop begins: what can be seen at its first moment only is looked at now. */
  onStop(admin: EnvoyAdmin | undefined, proxy: UsedProxy, over: AbortSignal): void {
    this.#stop ??= new StopWatch(this.#deps, {
      admin,
      proxy,
      over,
      looks: this.#looks,
      ownSeen: this.#ownSeen,
    });
  }

  /**
   * Resolves once Envoy is idle, or once kuma-dp alone would have ended it.
   *
   * @throws the reason of `over`
   */
  async untilUnused(stop: () => StopKnowledge): Promise<Drained> {
    if (this.#stop === undefined) throw new TypeError('no stop has begun');
    return this.#stop.untilUnused(stop);
  }
}

interface StopContext {
  readonly admin: EnvoyAdmin | undefined;
  readonly proxy: UsedProxy;
  readonly over: AbortSignal;
  readonly looks: readonly RememberedLook[];
  readonly ownSeen: Set<string>;
}

/** One stop, from its first moment on. */
class StopWatch {
  readonly #deps: EnvoyUsersDeps;
  readonly #context: StopContext;
  readonly #beganAtMs: number;
  readonly #gauge: EnvoyGauge | undefined;
  readonly #draining = new AbortController();
  readonly #settled: Promise<unknown>;
  #use: EnvoyUse | undefined;
  #called = false;
  #ports: 'answer' | 'refuse' | 'unknown' = 'unknown';
  #refusedAtFirst = false;
  #onlyProxyReplaced = false;
  #failures = 0;
  #held: { readonly cause: HoldCause; readonly sinceMs: number; said: boolean } | undefined;
  readonly #words: string[] = [];

  constructor(deps: EnvoyUsersDeps, context: StopContext) {
    this.#deps = deps;
    this.#context = context;
    this.#beganAtMs = deps.clock.monotonicMs();
    this.#gauge = context.admin === undefined ? undefined : new EnvoyGauge(context.admin);
    this.#settled = Promise.all([this.#firstEvidence(), this.#watchSettling()]);
  }

  async untilUnused(stop: () => StopKnowledge): Promise<Drained> {
    const { clock } = this.#deps;
    const { over } = this.#context;
    this.#draining.abort(new Error('The drain begins'));
    await this.#settled;
    // Until now peers may have sent something new.
    this.#use = quietFrom(this.#use, clock.monotonicMs());
    for (let probedAtMs = clock.monotonicMs(); ;) {
      over.throwIfAborted();
      await this.#look();
      if (clock.monotonicMs() - probedAtMs >= PROBE_INTERVAL_MS) {
        await this.#probe();
        probedAtMs = clock.monotonicMs();
      }
      const known = this.#knowledge(stop());
      const hold = holdOf(known);
      this.#note(hold);
      if (hold === undefined) {
        const late = known.nowMs >= latestEndMs(known);
        return { outcome: late ? 'time is up' : 'quiet', held: this.#words };
      }
      const leftMs = Math.max(0, hold.untilMs - clock.monotonicMs());
      await sleep(clock, this.#gauge === undefined ? leftMs : DRAIN_POLL_MS, over);
    }
  }

  #knowledge(stop: StopKnowledge): HoldKnowledge {
    const { clock, outboundHold, externalDrainMs } = this.#deps;
    const { proxy } = this.#context;
    return {
      ...stop,
      nowMs: clock.monotonicMs(),
      stopBeganAtMs: this.#beganAtMs,
      drainTimeMs: proxy.drainTimeMs,
      proxy: proxy.kind,
      // What was seen before the admin fell silent says nothing of now.
      envoy: this.#failures === 0 ? this.#use : undefined,
      application: { ports: this.#ports, refusedAtFirst: this.#refusedAtFirst, called: this.#called },
      onlyProxyReplaced: this.#onlyProxyReplaced,
      outboundHold,
      externalDrainMs,
    };
  }

  async #firstEvidence(): Promise<void> {
    const { host } = this.#deps;
    const [, isRestart] = await Promise.all([this.#probe(), host.isRestart()]);
    this.#refusedAtFirst = this.#ports === 'refuse';
    this.#onlyProxyReplaced = isRestart;
  }

  async #probe(): Promise<void> {
    this.#ports = await this.#deps.host.probe(this.#context.proxy.applicationPorts);
  }

  /** What is called while the peers are told shows that the application lives. */
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
      const first = this.#use === undefined;
      const before = first ? this.#before(totals, own.begun) : { called: this.#called, moved: false };
      this.#called = before.called;
      this.#use = followUse(this.#use, { atMs, activity, own, movedBefore: before.moved });
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === FAILURES_ALLOWED && !this.#context.over.aborted) {
        events.drainBlind(describeError(error));
      }
    }
  }

  /** What the application did before the stop, as far as it was remembered. */
  #before(
    totals: ReadonlyMap<string, number>,
    own: number,
  ): { readonly called: boolean; readonly moved: boolean } {
    const { looks, proxy } = this.#context;
    const directions = this.#gauge?.directions;
    if (directions === undefined) return { called: false, moved: false };
    const longAgo = lookBefore(looks, this.#beganAtMs, proxy.drainTimeMs);
    const lately = lookBefore(looks, this.#beganAtMs, SHORTEST_LOOK_INTERVAL_MS);
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

  #note(hold: Hold | undefined): void {
    const { clock, events, onHold } = this.#deps;
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const words = hold === undefined || hold.cause === 'quiet' ? undefined : describeHold(hold, now);
    onHold(words);
    if (hold === undefined || words === undefined) return;
    if (this.#held?.cause !== hold.cause) {
      this.#held = { cause: hold.cause, sinceMs: now.monotonicMs, said: false };
      this.#words.push(words);
    }
    if (this.#held.said || now.monotonicMs - this.#held.sinceMs < SAY_AFTER_MS) return;
    this.#held.said = true;
    events.drainHeld(words, hold.cause);
  }
}
