import { pause, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { spread } from '../../kernel/spread.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { AgentEvents } from '../events.ts';
import type { Endpoint } from '../ports.ts';

export interface EndpointWatchDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  readonly endpoints: readonly Endpoint[];
  /** The agent that attaches, and its credential. */
  readonly key: DataplaneKey;
  /** Called with the result of a look. */
  readonly learn: (facts: ControlPlaneFacts) => void;
}

export interface LastLook {
  readonly url: string;
  /** `undefined` before the first look. */
  readonly reachable: boolean | undefined;
}

/** A long limit for the first look, because nothing waits for it. */
const LOOK_BUDGET_MS = 5_000;
/** Shorter than the idle timeouts of common load balancers and NAT tables. */
const LOOK_INTERVAL_MS = 20_000;

/** Looks at every endpoint at intervals, so that a stop finds open connections, and reports changes. */
export class EndpointWatch {
  readonly #deps: EndpointWatchDeps;
  readonly #reachable = new Map<string, boolean>();
  readonly #answered = new Set<string>();

  constructor(deps: EndpointWatchDeps) {
    this.#deps = deps;
  }

  /** Whether the last look at each was answered, in the order in which they are asked. */
  get looks(): readonly LastLook[] {
    return this.#deps.endpoints.map(({ url }) => ({ url, reachable: this.#reachable.get(url) }));
  }

  /** Whether a control plane has ever answered there. */
  answeredOnce(url: string): boolean {
    return this.#answered.has(url);
  }

  /** Ends with `signal`. */
  run(signal: AbortSignal): void {
    for (const endpoint of this.#deps.endpoints) void this.#lookAgain(endpoint, signal);
  }

  async #lookAgain(endpoint: Endpoint, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    while (!signal.aborted) {
      await this.#look(endpoint, signal);
      await pause(clock, spread(LOOK_INTERVAL_MS, random()), signal);
    }
  }

  async #look(endpoint: Endpoint, cancel: AbortSignal): Promise<void> {
    const { clock, events, key, learn } = this.#deps;
    const { url } = endpoint;
    try {
      const facts = await withDeadline(
        { clock, action: `reach ${url}`, budgetMs: LOOK_BUDGET_MS, cancel },
        (scope) => endpoint.check(key, scope.signal),
      );
      learn(facts);
      if (this.#reachable.get(url) !== true) events.endpointReached(url, facts);
      this.#reachable.set(url, true);
      this.#answered.add(url);
    } catch (error) {
      if (cancel.aborted) return;
      if (this.#reachable.get(url) !== false) events.endpointLost(url, error);
      this.#reachable.set(url, false);
    }
  }
}
