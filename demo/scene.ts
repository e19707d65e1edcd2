import type { Fleet } from '../test/support/world/fleet.ts';
import { LoadGenerator } from '../test/support/world/load-generator.ts';
import type { Notes } from './timeline.ts';

export const NAMES = ['backend-1', 'backend-2', 'backend-3'];
/** The instance that something happens to. */
export const AFFECTED = 'backend-2';
export const RATE_PER_SECOND = 100;

/** Who took an object away: a DELETE, or the control plane after its delay. */
const GONE: ReadonlySet<string> = new Set(['deleted', 'deregistered']);

/** One row of the demo, in a mesh of its own. */
export interface Scene {
  readonly title: string;
  /** Starts the instances, and what they need. */
  readonly prepare: (fleet: Fleet, disposables: AsyncDisposableStack) => Promise<void>;
  readonly play: (fleet: Fleet, notes: Notes) => Promise<void>;
}

/**
 * Lets something happen while the peer sends requests at a constant rate, and counts those that fail.
 *
 * @param happen returns for how many milliseconds to wait until requests succeed again afterwards
 */
export async function underLoad(fleet: Fleet, notes: Notes, happen: () => Promise<number>): Promise<void> {
  await using load = new LoadGenerator({
    target: { protocol: 'http1', port: fleet.client.ports.http1 },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  const budgetMs = await happen();
  await load.waitForSuccesses(RATE_PER_SECOND, { budgetMs });
  const { sent, failed } = await load.stop();
  notes.fail({ sent, failed });
}

/** @returns once the affected object was deleted at or after `sinceWallMs` (`Date.now()`) */
export async function untilGone(fleet: Fleet, sinceWallMs: number, budgetMs: number): Promise<void> {
  await fleet.controlPlane.journal.waitForEvent(
    ({ kind, subject, atMs }) => GONE.has(kind) && subject.endsWith(AFFECTED) && atMs >= sinceWallMs,
    { budgetMs },
  );
}
