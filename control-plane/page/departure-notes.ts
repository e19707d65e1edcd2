import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { DepartureNote } from './fleet-view.pure.ts';
import { readStopTimeline } from './stop-steps.pure.ts';
import type { AttemptedDeletion } from '../ports.ts';

interface Incarnation {
  readonly key: DataplaneKey;
  readonly incarnation: string;
}

/** More than the page shows. */
const MOST = 200;

/** Details of the last departures for the page. In memory only, and bounded. */
export class DepartureNotes {
  readonly #notes = new Map<string, DepartureNote>();

  get size(): number {
    return this.#notes.size;
  }

  find(which: Incarnation): DepartureNote | undefined {
    return this.#notes.get(nameOf(which));
  }

  /** The stop report of an agent, as far as it can be drawn. */
  reported(which: Incarnation, report: unknown): void {
    const timeline = readStopTimeline(report);
    if (timeline !== undefined) this.#note(which, { timeline });
  }

  attempted({ record, result }: AttemptedDeletion): void {
    if (result.kind !== 'ended') return;
    const { state, lostAtMs, sinceMs } = record;
    this.#note(record, { beganAtMs: state === 'lost' ? (lostAtMs ?? sinceMs) : sinceMs });
  }

  #note(which: Incarnation, more: DepartureNote): void {
    const name = nameOf(which);
    const note = { ...this.#notes.get(name), ...more };
    this.#notes.delete(name);
    this.#notes.set(name, note);
    for (const oldest of this.#notes.keys()) {
      if (this.#notes.size <= MOST) break;
      this.#notes.delete(oldest);
    }
  }
}

function nameOf({ key, incarnation }: Incarnation): string {
  return `${describeKey(key)} ${incarnation}`;
}
