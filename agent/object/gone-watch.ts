import type { Clock } from '../../kernel/clock.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Departure } from '../ports.ts';
import type { Endpoints } from './endpoints.ts';

export interface GoneWatchDeps {
  readonly clock: Clock;
  readonly endpoints: Endpoints;
  readonly departure: Departure;
  /** The agent deleted the object again: settling begins anew. */
  readonly onDeletedAgain: () => void;
  /**
   * Whether Envoy has opened a stream to a control plane since the stop began. If not, an object that exists again was
   * created for another run.
   */
  readonly hasReconnected: () => Promise<boolean>;
}

const LOOK_BUDGET_MS = 1_500;
/**
 * Envoy's stream returns within a second after its control plane has ended: KUMA puts the object back 0.2 to 0.9 s
 * later.
 */
const EAGER_MS = 300;
const EAGER_FOR_MS = 5_000;
const PATIENT_MS = 1_000;

/**
 * Watches whether the object stays away while Envoy still serves. When a control plane ends, Envoy opens its stream at
 * another one, which creates the object again, because the stream carries the resource.
 */
export class GoneWatch {
  readonly #deps: GoneWatchDeps;
  readonly #beganAtMs: number;
  #isGone = true;

  constructor(deps: GoneWatchDeps) {
    this.#deps = deps;
    this.#beganAtMs = deps.clock.monotonicMs();
  }

  /** As of the last look; also `false` if no endpoint has answered. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** @returns after how many ms to look again; `undefined` once the name belongs to another run */
  async look(cancel: AbortSignal): Promise<number | undefined> {
    const { clock, endpoints, departure, onDeletedAgain, hasReconnected } = this.#deps;
    try {
      const stage = (await hasReconnected()) ? 'serving' : 'ended';
      const { value } = await endpoints.ask({
        action: `look whether dataplane ${describeKey(departure.key)} is still gone`,
        budgetMs: LOOK_BUDGET_MS,
        attempt: (endpoint, signal) => endpoint.confirm(departure, stage, signal),
        cancel,
      });
      this.#isGone = value.verdict !== 'wait';
      if (value.verdict === 'deleted') onDeletedAgain();
      if (value.verdict === 'leave') return undefined;
    } catch {
      if (!cancel.aborted) this.#isGone = false;
    }
    return clock.monotonicMs() - this.#beganAtMs < EAGER_FOR_MS ? EAGER_MS : PATIENT_MS;
  }
}
