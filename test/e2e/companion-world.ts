import { FleetCompanion } from '../support/world/fleet-companion.ts';
import { Fleet, type FleetOptions } from '../support/world/fleet.ts';
import { losePower } from '../support/world/power-loss.ts';
import { NAMES } from '../support/world/under-load.ts';

/** The instance that something happens to. */
export const LOST = 'backend-2';
export const STAYING = NAMES.filter((name) => name !== LOST);
/** The companion's default. */
export const GRACE_MS = 15_000;
/** Grace, the control plane's caches, and a machine that is busy with three Envoys. Alone it takes 17 to 19 s. */
export const LOSS_BUDGET_MS = 45_000;

export interface FleetWorld extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly companion: FleetCompanion;
}

/** Three instances that have nothing but a companion to turn to. */
export async function companionWorld(
  options: Partial<FleetOptions> = {},
  agentOptions: readonly string[] = [],
): Promise<FleetWorld> {
  await using opening = new AsyncDisposableStack();
  const fleet = opening.use(await Fleet.create({ names: NAMES, ...options }));
  const companion = opening.use(await FleetCompanion.start(fleet));
  await fleet.start(companion.agent(...agentOptions));
  for (const { process: agent } of fleet.instances) await agent.waitForOutput('companion.attached');
  const world = opening.move();
  return { fleet, companion, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** Its host loses power while the control plane is down. */
export async function loseHost(fleet: Fleet): Promise<void> {
  await fleet.controlPlane.crash();
  await losePower(fleet.instance(LOST).process);
}

/** Whose objects went, in order, as `mesh/name`. */
export function deletedNames({ controlPlane }: Fleet): readonly string[] {
  return controlPlane.journal.events
    .filter(({ kind }) => kind === 'deleted' || kind === 'deregistered')
    .map(({ subject }) => subject);
}

/** Numbers for `docs/concepts/what-happens-when.md`. */
export function tell(what: string, ms: number): void {
  console.info(`${what}: ${(ms / 1_000).toFixed(2)} s`);
}
