import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import { settleMs } from './settle.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { Endpoint } from '../ports.ts';
import { EndpointWatch, type LastLook } from './endpoint-watch.ts';
import { ZoneLook } from './zone-look.ts';
import { firstAnswer, type HedgedAnswer, type HedgedCall } from './hedging.ts';

export interface EndpointsDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  /** In the order in which they are asked. */
  readonly endpoints: readonly Endpoint[];
  readonly key: DataplaneKey;
  /** Services of its inbounds: other zones notice the last dataplane of one. */
  readonly services?: readonly string[];
  /** `auto`: the control plane's own intervals. */
  readonly settle: number | 'auto';
  /** Called when facts that a departure depends on become known. */
  readonly onFacts?: () => void;
}

export interface EndpointQuestion<T> {
  /** Imperative phrase for error messages. */
  readonly action: string;
  readonly budgetMs: number;
  readonly attempt: HedgedCall<T>['attempt'];
  /** Left out: all of them. */
  readonly endpoints?: readonly Endpoint[];
  readonly cancel?: AbortSignal;
  readonly onFailure?: (error: unknown) => void;
}

/** The ways to the control plane, and what is known of it. */
export class Endpoints {
  readonly #deps: EndpointsDeps;
  readonly #watch: EndpointWatch;
  readonly #zone: ZoneLook;
  #facts: ControlPlaneFacts = DEFAULT_FACTS;
  #lastOfService = false;

  constructor(deps: EndpointsDeps) {
    this.#deps = deps;
    this.#watch = new EndpointWatch({
      ...deps,
      learn: (facts) => {
        this.learn(facts);
      },
    });
    this.#zone = new ZoneLook({
      ...deps,
      services: deps.services ?? [],
      answeredOnce: (url) => this.#watch.answeredOnce(url),
    });
  }

  get facts(): ControlPlaneFacts {
    return this.#facts;
  }

  /** How long peers need to drop the endpoint of a deleted object, in ms. */
  get settleMs(): number {
    const { settle, key } = this.#deps;
    if (settle !== 'auto') return settle;
    return settleMs(this.#facts, { proxyType: key.proxyType, lastOfService: this.#lastOfService });
  }

  /** Control planes that did not answer in a stop, by URL. */
  get silentControlPlanes(): readonly string[] {
    return this.#zone.silent;
  }

  /** Whether the last look at each was answered, in the order in which they are asked. */
  get looks(): readonly LastLook[] {
    return this.#watch.looks;
  }

  /** The endpoints that record a departure before they act. */
  get remembering(): readonly Endpoint[] {
    return this.#deps.endpoints.filter(({ remembers }) => remembers === true);
  }

  /** The endpoints that are control planes, not companions. */
  get direct(): readonly Endpoint[] {
    return this.#deps.endpoints.filter(({ remembers }) => remembers !== true);
  }

  /** Adds facts about the control plane from another source than a check. */
  learn(facts: ControlPlaneFacts): void {
    this.#facts = facts;
    this.#deps.onFacts?.();
  }

  /** Checks every endpoint at intervals, so that a stop finds open connections. Ends with `signal`. */
  keepWarm(signal: AbortSignal): void {
    this.#watch.run(signal);
  }

  /** Asks them in order, hedged and with retries, until one has answered or the budget is spent. */
  ask<T>(question: EndpointQuestion<T>): Promise<HedgedAnswer<T>> {
    const { clock, random } = this.#deps;
    const { action, budgetMs, attempt, cancel, onFailure, endpoints = this.#deps.endpoints } = question;
    return withDeadline(
      { clock, action, budgetMs: Math.max(0, budgetMs), ...(cancel === undefined ? {} : { cancel }) },
      (scope) =>
        firstAnswer({
          clock,
          random,
          endpoints,
          action,
          scope,
          attempt,
          ...(onFailure === undefined ? {} : { onFailure }),
        }),
    );
  }

  /**
   * Called when the object is gone: finds out how long other zones need to learn of it, never before the deletion.
   * Silent control planes become known later, while the others update the peers.
   *
   * @param answered the endpoint that deleted the object
   */
  async lookAround(answered: string): Promise<void> {
    void this.#zone.findSilent(answered);
    if (this.#deps.settle !== 'auto' || this.#facts.otherZones === undefined) return;
    this.#lastOfService = await this.#zone.isLastOfService();
  }

  close(): void {
    this.#zone.close();
    for (const endpoint of this.#deps.endpoints) endpoint.close();
  }
}
