import { OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Store } from '../ports.ts';
import type { At } from '../attached-agent.ts';

export interface UnrecordedEndsDeps {
  readonly store: Pick<Store, 'detach'>;
  readonly replica: string;
  /** Called when an end was recorded: a departure may be due. */
  readonly nudge: () => void;
}

interface UnrecordedEnd {
  readonly at: At;
  readonly returnMs: number | undefined;
  recording: Promise<void> | undefined;
}

/**
 * Ended streams that the store does not know yet. An agent that comes back under such a name waits for the record of
 * the end; otherwise it would count as lost after its return.
 */
export class UnrecordedEnds {
  readonly #deps: UnrecordedEndsDeps;
  readonly #ends = new Map<string, UnrecordedEnd>();

  constructor(deps: UnrecordedEndsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#ends.size;
  }

  /**
   * Records it now if the store can be reached, or else with the next call of {@link recordAll}.
   *
   * @param returnMs as of {@link Store.detach}
   */
  async add(at: At, returnMs?: number): Promise<void> {
    const end: UnrecordedEnd = { at, returnMs, recording: undefined };
    this.#ends.set(describeKey(at.key), end);
    await this.#record(end);
  }

  /** Resolves when no end of this name is being recorded. */
  async underWay(name: string): Promise<void> {
    await this.#ends.get(name)?.recording;
  }

  /** A newer stream of this name replaces the end that waits to be recorded. */
  forget(name: string): void {
    this.#ends.delete(name);
  }

  async recordAll(): Promise<void> {
    await Promise.all([...this.#ends.values()].map((end) => this.#record(end)));
  }

  #record(end: UnrecordedEnd): Promise<void> {
    end.recording ??= this.#tell(end).finally(() => {
      end.recording = undefined;
    });
    return end.recording;
  }

  async #tell(end: UnrecordedEnd): Promise<void> {
    const { store, replica, nudge } = this.#deps;
    const name = describeKey(end.at.key);
    try {
      await store.detach(end.at, replica, end.returnMs);
      if (this.#ends.get(name) === end) this.#ends.delete(name);
      nudge();
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
    }
  }
}
