import { OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Store } from '../ports.ts';
import type { At } from '../attached-agent.ts';

interface Said {
  readonly phase: string;
  readonly serving: boolean;
}

/** So many phases are written at once: an agent that says thousands must not take the store from the others. */
const WRITERS = 2;

/**
 * Writes down what agents say of themselves, the last word of each name only: what was said before it and is not
 * written yet is left out.
 */
export class PhaseNotes {
  readonly #store: Pick<Store, 'notePhase'>;
  readonly #failedUnexpectedly: (error: unknown) => void;
  readonly #waiting = new Map<string, { readonly at: At; readonly said: Said }>();
  readonly #writing = new Set<string>();

  constructor(store: Pick<Store, 'notePhase'>, failedUnexpectedly: (error: unknown) => void) {
    this.#store = store;
    this.#failedUnexpectedly = failedUnexpectedly;
  }

  /** How many names wait to be written. */
  get waiting(): number {
    return this.#waiting.size;
  }

  note(at: At, said: Said): void {
    this.#waiting.set(describeKey(at.key), { at, said });
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

  /** The next change says it again; until then, a store that is out of reach has the last one that it was told. */
  async #write({ at, said }: { readonly at: At; readonly said: Said }): Promise<void> {
    try {
      await this.#store.notePhase(at, said);
    } catch (error) {
      if (!(error instanceof OperationalError)) this.#failedUnexpectedly(error);
    }
  }
}
