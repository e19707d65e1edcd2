import { OperationalError } from '../../kernel/errors.ts';
import type { Store } from '../ports.ts';

const NONE: ReadonlySet<string> = new Set();

/** The unseen agents: recorded in the store, and expected back at some replica. */
export class ExpectedAgents {
  readonly #store: Pick<Store, 'unseenIncarnations'>;
  #size = 0;
  #incarnations = NONE;

  constructor(store: Pick<Store, 'unseenIncarnations'>) {
    this.#store = store;
  }

  /** How many, as of the last heartbeat. */
  get size(): number {
    return this.#size;
  }

  /** Whether this agent is expected. An agent that has come back stays expected until all have. */
  has(incarnation: string): boolean {
    return this.#incarnations.has(incarnation);
  }

  /** @param size how many there are now. Never throws transient errors */
  async note(size: number): Promise<void> {
    this.#size = size;
    if (size === 0) this.#incarnations = NONE;
    if (size <= this.#incarnations.size) return;
    try {
      this.#incarnations = new Set(await this.#store.unseenIncarnations());
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
    }
  }
}
