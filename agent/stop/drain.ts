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
  /** `undefined`: kuma-dp's drain time, where clients come that no control plane tells. */
  readonly externalDrainMs: number | undefined;
  readonly host: StopEvidence;
  /** Called with what the drain waits for, at each change; `undefined` for nothing. */
  readonly onHold: (words: string | undefined) => void;
}

/** How far the deregistration is: a late one may come about while Envoy drains. */
export type DeregistrationKnowledge = Pick<StopKnowledge, 'deregistration' | 'settledAtMs'>;

type DrainStage = Parameters<KumaDpProcess['tell']>[0];

/** When kuma-dp is told to drain, and when that is over. */
export class Drain {
  readonly #deps: DrainDeps;
  readonly #facts: RunFacts;
  readonly #users: EnvoyUsers;
  readonly #begun = Promise.withResolvers<void>();
  #words: string | undefined;
  /** The first signal is held back for clients outside the mesh. */
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

  /** What the drain waits for, in words. */
  get hold(): string | undefined {
    return this.#words;
  }

  /** Envoy is there: what the application calls is remembered until a stop begins. */
  async remember(): Promise<void> {
    const admin = this.#admin;
    const { proxy } = await this.#facts.dataplane.known;
    if (admin !== undefined) await this.#users.remember(admin, proxy.drainTimeMs, this.#facts.stopping);
  }

  /** A stop begins, kuma-dp lives: what only its first moment shows; and clients whom no control plane tells are told. */
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

  /** A drain is held back for clients outside the mesh; whatever ends kuma-dp is not. */
  async tell(stage: DrainStage): Promise<void> {
    if (stage !== 'drain' || !this.#heldBack) await this.#facts.kumaDp.value?.tell(stage);
  }

  /**
   * Resolves once Envoy is idle, or once kuma-dp alone would have ended it.
   *
   * @returns `undefined` where Envoy never was there, or the stop ended first
   */
  async untilOver(stop: () => DeregistrationKnowledge): Promise<Drained | undefined> {
    const { over, envoy, kumaDp } = this.#facts;
    const dataplane = await this.#facts.dataplane.known;
    if (envoy.value === undefined) return undefined;
    await this.#begun.promise;
    // The drain begins with the signal, and before the signal there is a look.
    await kumaDp.value?.told;
    const beganAtMs = this.#deps.clock.monotonicMs();
    return this.#users
      .untilUnused(() => this.#knowledge(dataplane, beganAtMs, stop()))
      .catch((error: unknown) => {
        if (over.aborted) return undefined;
        throw error;
      });
  }

  /** kuma-dp ends by itself after its drain time: where that is too early, Envoy alone says that it is not ready. */
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
      // Peers that were told before the stop have let go, whatever came of the deletion.
      peersTold: settleLeftMs?.() === 0,
      silentControlPlanes: registration?.silentControlPlanes ?? [],
    };
  }
}

/** The kind of a proxy without a readable resource, from Envoy's listeners. */
async function asSeen(proxy: UsedProxy, admin: EnvoyAdmin | undefined): Promise<UsedProxy> {
  if (!proxy.isGuess || admin === undefined) return proxy;
  const directions = await admin.listenerConfig().then(readDirections, () => NO_DIRECTIONS);
  return isBuiltinGateway(directions) ? { ...proxy, kind: 'builtin gateway' } : proxy;
}
