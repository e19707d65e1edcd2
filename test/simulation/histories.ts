import { historyOf, type History } from './history.ts';
import { witnessHistoryOf } from './witness-history.ts';

/** Every eighth pair of seeds is a zone of witnesses. */
export function historyAt(seed: number): History {
  return Math.floor(seed / 2) % 8 === 7 ? witnessHistoryOf(seed) : historyOf(seed);
}
