import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import {
  GetControlPlaneResponse_Siblings as Siblings,
  type GetControlPlaneRequest,
  type GetControlPlaneResponse,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import type { ControlPlanes } from '../ports.ts';
import { asControlPlane } from './answers.ts';
import type { Authorisation } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { readKey } from './requests.ts';

export interface GetControlPlaneDeps {
  readonly clock: Clock;
  readonly authoriseByName: Authorisation['authoriseByName'];
  readonly watch: ZoneWatch;
  readonly controlPlanes: ControlPlanes;
}

/** A dataplane has few services; a caller that names more gets no answer about them. */
const MOST_SERVICES = 64;
/** A stop waits for it. */
const SIBLINGS_BUDGET_MS = 2_000;

/** The agent learns that its token will be accepted at its stop. */
export async function getControlPlane(
  deps: GetControlPlaneDeps,
  request: GetControlPlaneRequest,
  context: CallContext,
): Promise<GetControlPlaneResponse> {
  const { authoriseByName, watch } = deps;
  const key = readKey(request.dataplane);
  await authoriseByName(context.caller, key);
  const { services, findSilent } = request;
  const [siblings] = await Promise.all([
    siblingsOf(deps, key, services),
    findSilent ? watch.lookNow() : undefined,
  ]);
  return {
    controlPlane: asControlPlane(watch.facts),
    siblings,
    silentControlPlanes: findSilent ? [...watch.silentControlPlanes] : [],
  };
}

async function siblingsOf(
  { clock, controlPlanes }: GetControlPlaneDeps,
  key: DataplaneKey,
  services: readonly string[],
): Promise<Siblings> {
  if (services.length === 0 || services.length > MOST_SERVICES) return Siblings.UNSPECIFIED;
  const action = `look for siblings of ${describeKey(key)}`;
  try {
    const found = await withDeadline({ clock, action, budgetMs: SIBLINGS_BUDGET_MS }, ({ signal }) =>
      Promise.all(services.map((service) => controlPlanes.hasSibling(key, service, signal))),
    );
    return found.includes(false) ? Siblings.MISSING : Siblings.PRESENT;
  } catch {
    return Siblings.UNSPECIFIED;
  }
}
