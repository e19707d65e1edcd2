import { pause, type Clock } from '../../kernel/clock.ts';
import { isBuiltinGateway, NO_DIRECTIONS, readDirections } from '../envoy/envoy-activity.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { UsedProxy } from '../identity/used-proxy.pure.ts';
import { settleMs } from '../object/settle.pure.ts';
import type { EnvoyAdmin, StopEvidence } from '../ports.ts';
import { streamsOpened } from '../envoy/streams.ts';
import { EnvoyUsers, type StopKnowledge } from './envoy-users.ts';
import { hasExternalSenders, readinessLeadMs } from './hold.pure.ts';
import type { KumaDpProcess } from './kuma-dp-process.ts';
import type { Drained } from './phases.pure.ts';
import type { RunFacts, SupervisedDataplane } from './run-facts.ts';

export interface DrainDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly facts: RunFacts;
  readonly outboundHold: 'auto' | number;
  /** `undefined`: kuma-dp's drain time, if there are clients that no control plane informs. */
  readonly externalDrainMs: number | undefined;
  readonly host: StopEvidence;
  /** Called with the reason for the wait, at each change; `undefined` for none. */
  readonly onHold: (words: string | undefined) => void;
}

/** The state of the deregistration: a late one may succeed while Envoy drains. */
export type DeregistrationKnowledge = Pick<StopKnowledge, 'deregistration' | 'settledAtMs'>;

type DrainStage = Parameters<KumaDpProcess['tell']>[0];

/** Decides when kuma-dp is told to drain, and when the drain is over. */
export class Drain {
  readonly #deps: DrainDeps;
  readonly #facts: RunFacts;
  readonly #users: EnvoyUsers;
  readonly #begun = Promise.withResolvers<void>();
  #words: string | undefined;
  /** The first signal is delayed for clients outside the mesh. */
  #heldBack = false;

  constructor(deps: DrainDeps) {
    this.#deps = deps;
    this.#facts = deps.facts;
    this.#users = new EnvoyUsers({
      ...deps,
      onHold: (words) => {
        if (words !== this.#words) deps.onHold(words);
        this.#words = words;
      },
    });
  }

  get #admin(): EnvoyAdmin | undefined {
    return this.#facts.envoy.value?.admin;
  }

  /** @returns whether Envoy has opened a stream to a control plane since now; `false` where it cannot be asked */
  watchStreams(): () => Promise<boolean> {
    const admin = this.#admin;
    const opened = (): Promise<number> =>
      admin === undefined ? Promise.resolve(Number.NaN) : streamsOpened(admin).catch(() => Number.NaN);
    const before = opened();
    return async () => (await opened()) > (await before);
  }

  /** The reason for the drain's wait, in words. */
  get hold(): string | undefined {
    return this.#words;
  }

  /** Called when Envoy runs: records what the application calls, until a stop begins. */
  async remember(): Promise<void> {
    const admin = this.#admin;
    const { proxy } = await this.#facts.dataplane.known;
    if (admin !== undefined) await this.#users.remember(admin, proxy.drainTimeMs, this.#facts.stopping);
  }

  /**
   * Called when a stop begins and kuma-dp lives. Records what only the first moment of a stop shows, and fails
   * readiness for clients that no control plane informs.
   */
  async begin(): Promise<void> {
    const { externalDrainMs } = this.#deps;
    const admin = this.#admin;
    const proxy = await asSeen((await this.#facts.dataplane.known).proxy, admin);
    this.#users.onStop(admin, proxy, this.#facts.over);
    this.#begun.resolve();
    const isThere = this.#facts.envoy.value !== undefined;
    if (!isThere || !hasExternalSenders({ proxy: proxy.kind, externalDrainMs })) return;
    const leadMs = readinessLeadMs({ drainTimeMs: proxy.drainTimeMs, externalDrainMs });
    if (admin === undefined || leadMs === 0) await this.tell('drain');
    else await this.#failReadiness(admin, leadMs);
  }

  /** The signal for a drain is delayed for clients outside the mesh; a signal that ends kuma-dp is not. */
  async tell(stage: DrainStage): Promise<void> {
    if (stage !== 'drain' || !this.#heldBack) await this.#facts.kumaDp.value?.tell(stage);
  }

  /**
   * Resolves once Envoy is idle, or at the time when kuma-dp alone would have ended it.
   *
   * @returns `undefined` where Envoy never was there, or the stop ended first
   */
  async untilOver(stop: () => DeregistrationKnowledge): Promise<Drained | undefined> {
    const { over, envoy, kumaDp } = this.#facts;
    const dataplane = await this.#facts.dataplane.known;
    if (envoy.value === undefined) return undefined;
    await this.#begun.promise;
    // The drain begins with the signal, and a look comes before the signal.
    await kumaDp.value?.told;
    const beganAtMs = this.#deps.clock.monotonicMs();
    return this.#users
      .untilUnused(() => this.#knowledge(dataplane, beganAtMs, stop()))
      .catch((error: unknown) => {
        if (over.aborted) return undefined;
        throw error;
      });
  }

  /** kuma-dp ends by itself after its drain time. If that is too early, only Envoy reports that it is not ready. */
  async #failReadiness(admin: EnvoyAdmin, leadMs: number): Promise<void> {
    const { clock, events } = this.#deps;
    const { over } = this.#facts;
    this.#heldBack = true;
    await admin.healthcheck('fail').catch(events.healthcheckUntold);
    await pause(clock, leadMs, over);
    this.#heldBack = false;
    if (!over.aborted) await this.tell('drain');
  }

  #knowledge(
    { registration, settleLeftMs }: SupervisedDataplane,
    beganAtMs: number,
    { deregistration, settledAtMs }: DeregistrationKnowledge,
  ): StopKnowledge {
    const facts = registration?.facts;
    return {
      deregistration,
      settledAtMs: deregistration === 'gone' ? Math.max(beganAtMs, settledAtMs) : beganAtMs,
      toldAtMs: this.#facts.kumaDp.value?.toldAtMs ?? beganAtMs,
      healthCheckMs: facts?.hdsDelayMs === undefined ? undefined : facts.hdsDelayMs + settleMs(facts),
      // Peers that were informed before the stop have dropped the endpoint, whatever the outcome of the deletion.
      peersTold: settleLeftMs?.() === 0,
      silentControlPlanes: registration?.silentControlPlanes ?? [],
    };
  }
}

/** The kind of a proxy whose resource cannot be read, from Envoy's listeners. */
async function asSeen(proxy: UsedProxy, admin: EnvoyAdmin | undefined): Promise<UsedProxy> {
  if (!proxy.isGuess || admin === undefined) return proxy;
  const directions = await admin.listenerConfig().then(readDirections, () => NO_DIRECTIONS);
  return isBuiltinGateway(directions) ? { ...proxy, kind: 'builtin gateway' } : proxy;
}
