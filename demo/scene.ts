import { Fleet, type InstanceWrapping } from '../test/support/world/fleet.ts';
import { LoadGenerator } from '../test/support/world/load-generator.ts';
import type { Notes } from './timeline.ts';

export const NAMES = ['backend-1', 'backend-2', 'backend-3'];
/** The instance that something happens to. */
export const AFFECTED = 'backend-2';
export const RATE_PER_SECOND = 100;

/** Who took an object away: a DELETE, or the control plane after its delay. */
const GONE: ReadonlySet<string> = new Set(['deleted', 'deregistered']);

export type Mesh = Pick<Fleet, 'client' | 'controlPlane'>;

/** One row of the demo, in a mesh of its own. */
export interface DemoScene {
  readonly title: string;
  /** Starts the mesh, and adds it to `meshes` before it is there: an interruption in between must find it. */
  readonly start: (meshes: AsyncDisposableStack) => Promise<Play>;
}

/** What happens in a mesh that serves. */
export type Play = (notes: Notes) => Promise<void>;

/** @param wrap how its instances are run, once there is a mesh */
export async function startFleet(
  meshes: AsyncDisposableStack,
  wrap: (fleet: Fleet) => Promise<InstanceWrapping>,
): Promise<Fleet> {
  const fleet = await added(meshes, Fleet.create({ names: NAMES }));
  await fleet.start(await wrap(fleet));
  return fleet;
}

/** Adds a mesh that is still starting to `meshes`, which ends it. */
export function added<T extends AsyncDisposable>(
  meshes: AsyncDisposableStack,
  creation: Promise<T>,
): Promise<T> {
  meshes.defer(async () => {
    await (await creation)[Symbol.asyncDispose]();
  });
  return creation;
}

interface Happening {
  readonly happen: () => Promise<void>;
  /** How long requests may fail after it. */
  readonly budgetMs: number;
}

/** Lets something happen while the peer sends requests at a constant rate, and counts those that fail. */
export async function underLoad(fleet: Mesh, notes: Notes, { happen, budgetMs }: Happening): Promise<void> {
  await using load = new LoadGenerator({
    target: { protocol: 'http1', port: fleet.client.ports.http1 },
    ratePerSecond: RATE_PER_SECOND,
  });
  await load.waitForSuccesses(RATE_PER_SECOND);
  await happen();
  await load.waitForSuccesses(RATE_PER_SECOND, { budgetMs });
  const { sent, failed } = await load.stop();
  notes.fail({ sent, failed });
}

/** @returns once the affected object was deleted at or after `sinceWallMs` (`Date.now()`) */
export async function untilGone(fleet: Mesh, sinceWallMs: number, budgetMs: number): Promise<void> {
  await fleet.controlPlane.journal.waitForEvent(
    ({ kind, subject, atMs }) => GONE.has(kind) && subject.endsWith(AFFECTED) && atMs >= sinceWallMs,
    { budgetMs },
  );
}
