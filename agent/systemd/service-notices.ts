import type { Clock } from '../../kernel/clock.ts';
import type { ServiceFields } from '../../kernel/service-fields.ts';
import type { Phase } from '../stop/phases.pure.ts';
import { extensionMs, messageOf, RENEWAL_MS } from './service-status.pure.ts';
import { INITIAL_PHASE } from '../stop/step.pure.ts';

export interface ServiceNoticesDeps {
  readonly clock: Clock;
  readonly manager: { tell(fields: ServiceFields): void; close(): void };
}

/** Reports the supervisor's phases to the service manager. */
export class ServiceNotices {
  readonly #deps: ServiceNoticesDeps;
  #phase: Phase = INITIAL_PHASE;
  #label: string | undefined;
  #serving = false;
  #hold: string | undefined;
  #drainedSince: string | undefined;
  #disarm: (() => void) | undefined;

  constructor(deps: ServiceNoticesDeps) {
    this.#deps = deps;
    this.#say();
  }

  onDerived(label: string): void {
    this.#label = label;
    this.#say();
  }

  onServing(): void {
    if (this.#phase.name !== 'running') return;
    this.#serving = true;
    this.#say();
  }

  /** What a drain waits for. */
  onHold(words: string | undefined): void {
    this.#hold = words;
    this.#say();
  }

  /** @param since when an operator took it out of rotation; `undefined`: it is in rotation */
  onRotation(since: string | undefined): void {
    this.#drainedSince = since;
    this.#say();
  }

  onPhase(phase: Phase): void {
    this.#phase = phase;
    this.#say();
    this.#renew();
  }

  close(): void {
    this.#disarm?.();
    this.#deps.manager.close();
  }

  #say(): void {
    const { clock, manager } = this.#deps;
    manager.tell(
      messageOf({
        phase: this.#phase,
        label: this.#label,
        serving: this.#serving,
        hold: this.#hold,
        drainedSince: this.#drainedSince,
        nowMs: clock.monotonicMs(),
      }),
    );
  }

  /** Asks for more time while the budget lasts, also within one phase. */
  #renew(): void {
    const { clock, manager } = this.#deps;
    this.#disarm?.();
    this.#disarm = undefined;
    if (!('deadlines' in this.#phase)) return;
    const { endsAtMs } = this.#phase.deadlines;
    if (clock.monotonicMs() + RENEWAL_MS >= endsAtMs) return;
    this.#disarm = clock.after(RENEWAL_MS, () => {
      manager.tell({ extendMs: extensionMs(endsAtMs, clock.monotonicMs()) });
      this.#renew();
    });
  }
}
