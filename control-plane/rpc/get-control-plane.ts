import type {
  GetControlPlaneRequest,
  GetControlPlaneResponse,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { asControlPlane } from './answers.ts';
import type { Authorisation } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { readKey } from './requests.ts';

export interface GetControlPlaneDeps {
  readonly authoriseByName: Authorisation['authoriseByName'];
  readonly watch: ZoneWatch;
}

/** An agent that hears this can count on its token when it stops. */
export async function getControlPlane(
  { authoriseByName, watch }: GetControlPlaneDeps,
  request: GetControlPlaneRequest,
  context: CallContext,
): Promise<GetControlPlaneResponse> {
  await authoriseByName(context.metadata, readKey(request.dataplane));
  context.authenticated();
  return { controlPlane: asControlPlane(watch.facts) };
}
