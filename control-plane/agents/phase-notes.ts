import { OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Store } from '../ports.ts';
import type { At } from '../attached-agent.ts';

interface SaidPhase {
  readonly phase: string;
  readonly serving: boolean;
}

/** The phase in the store; `undefined` if unknown. */
export interface Teller {
  stored?: SaidPhase | undefined;
}

interface Note {
  readonly at: At;
  readonly said: SaidPhase;
  readonly teller: Teller;
}

/** How many phases are written in parallel: an agent that sends thousands must not block others. */
const WRITERS = 2;

/** Records the agents' phases, only the latest of each name. */
export class PhaseNotes {
  readonly #store: Pick<Store, 'notePhase'>;
  readonly #failedUnexpectedly: (error: unknown) => void;
  readonly #waiting = new Map<string, Note>();
  readonly #writing = new Set<string>();

  constructor(store: Pick<Store, 'notePhase'>, failedUnexpectedly: (error: unknown) => void) {
    this.#store = store;
    this.#failedUnexpectedly = failedUnexpectedly;
  }

  /** How many names wait to be written. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Ten thousand returning agents repeat their phases: only changes are written. */
  note(at: At, said: SaidPhase, teller: Teller = {}): void {
    if (teller.stored?.phase === said.phase && teller.stored.serving === said.serving) return;
    teller.stored = said;
    this.#waiting.set(describeKey(at.key), { at, said, teller });
    this.#writeMore();
  }

  #writeMore(): void {
    for (const [name, note] of this.#waiting) {
      if (this.#writing.size >= WRITERS) return;
      if (this.#writing.has(name)) continue;
      this.#waiting.delete(name);
      this.#writing.add(name);
      void this.#write(note).finally(() => {
        this.#writing.delete(name);
        this.#writeMore();
      });
    }
  }

  /** Does not retry: the agent's next phase is written instead. Until then the store keeps the earlier phase. */
  async #write({ at, said, teller }: Note): Promise<void> {
    try {
      await this.#store.notePhase(at, said);
    } catch (error) {
      teller.stored = undefined;
      if (!(error instanceof OperationalError)) this.#failedUnexpectedly(error);
    }
  }
}
