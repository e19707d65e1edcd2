/** The share of one core that a list of all dataplanes may take. */
const SHARE = 0.02;
/**
 * Well below the memory of the look log: an object that no list has shown for longer counts as seen for the first time.
 */
const MOST_MS = 60_000;

/**
 * How old the list of all dataplanes may become before it is read again, in ms.
 *
 * @param workMs how long this process was busy with the last one
 */
export function restMs(workMs: number): number {
  return Math.min(MOST_MS, workMs / SHARE);
}
