import { pause, type Clock } from '../../kernel/clock.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { AttachedAgent } from '../attached-agent.ts';

export interface ControlPlaneNewsDeps {
  readonly clock: Clock;
  readonly agents: Iterable<AttachedAgent>;
  readonly facts: () => ControlPlaneFacts;
}

/** The interval of the looks at the control planes. */
const INTERVAL_MS = 2_000;
/** The size of a batch: ten thousand agents learn of a change within 5 s, and no turn of the event loop takes long. */
const TOGETHER = 100;
const PAUSE_MS = 50;

/** Tells the attached agents of changes of their control plane, so that they need not ask every 20 s. */
export class ControlPlaneNews {
  readonly #deps: ControlPlaneNewsDeps;

  constructor(deps: ControlPlaneNewsDeps) {
    this.#deps = deps;
  }

  /** Ends with `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, facts } = this.#deps;
    let known = JSON.stringify(facts());
    while (!signal.aborted) {
      await pause(clock, INTERVAL_MS, signal);
      const said = JSON.stringify(facts());
      if (said !== known) await this.#tellAll(signal);
      known = said;
    }
  }

  /** An agent that attaches meanwhile learns it from its Attached. */
  async #tellAll(signal: AbortSignal): Promise<void> {
    const { clock, agents } = this.#deps;
    const all = [...agents];
    for (let at = 0; at < all.length && !signal.aborted; at += TOGETHER) {
      for (const { channel } of all.slice(at, at + TOGETHER)) channel.news();
      await pause(clock, PAUSE_MS, signal);
    }
  }
}
