import type { Metadata } from '@grpc/grpc-js';

import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { DataplaneResource, describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { permits, type Permission } from '../../kuma/token-rules.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Authenticator, ControlPlanes, Credential, Store } from '../ports.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';

export interface AuthorisationDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly authenticator: Authenticator;
  readonly controlPlanes: ControlPlanes;
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly onDenied: () => void;
}

/**
 * Lets a call through if its token is good for this dataplane.
 *
 * @throws `UNAUTHENTICATED`, `PERMISSION_DENIED`: the same words whether the dataplane exists or not;
 * `ENDPOINT_UNREACHABLE` while that cannot be told
 */
export type Authorise = (
  metadata: Metadata,
  key: DataplaneKey,
  brought?: DataplaneResource,
) => Promise<Credential>;

const READ_BUDGET_MS = 800;

export interface Authorisation {
  readonly authorise: Authorise;
  /** Asks nothing of tags and workload: for a look that needs no object and shows nothing of it. */
  readonly authoriseByName: (metadata: Metadata, key: DataplaneKey) => Promise<void>;
}

export function authorisation(deps: AuthorisationDeps): Authorisation {
  const { authenticator, watch, events, onDenied } = deps;
  const authenticate = (metadata: Metadata, { mesh }: DataplaneKey): Promise<Credential> =>
    authenticator.authenticate(tokenOf(metadata), mesh);
  const requireAllowed = (permission: Permission, key: DataplaneKey): void => {
    if (permission.allowed) return;
    onDenied();
    events.refused(describeKey(key), 'PERMISSION_DENIED', permission.reason);
    throw new OperationalError('PERMISSION_DENIED', 'The dataplane token is not for this dataplane');
  };
  return {
    authorise: async (metadata, key, brought) => {
      const credential = await authenticate(metadata, key);
      const bound = isBoundToObject(credential);
      const { version } = watch.facts;
      if (bound && version === undefined) throw undecided();
      const stored = bound ? await readStored(deps, key) : undefined;
      requireAllowed(permits(credential, { key, stored, brought, version }), key);
      return credential;
    },
    authoriseByName: async (metadata, key) => {
      const credential = await authenticate(metadata, key);
      const unbound = { ...credential, tags: {}, workload: '' };
      requireAllowed(permits(unbound, { key, stored: undefined, version: watch.facts.version }), key);
    },
  };
}

/** Like Kuma: one, or none at all. */
function tokenOf(metadata: Metadata): string {
  const [token, ...others] = metadata.get('authorization');
  return typeof token === 'string' && others.length === 0 ? token : '';
}

/** Only then is the object needed to judge it: most tokens are bound to a name or a mesh. */
function isBoundToObject({ tags, workload }: Credential): boolean {
  return Object.keys(tags).length > 0 || workload !== '';
}

/**
 * As the control plane has it, else as its agent brought it before.
 *
 * @returns `undefined` only if it is certain that there is none: who brings a resource under a name whose object cannot
 * be read must not be taken for its first owner
 */
async function readStored(
  { clock, controlPlanes, store }: AuthorisationDeps,
  key: DataplaneKey,
): Promise<DataplaneResource | undefined> {
  try {
    const action = `read dataplane ${describeKey(key)}`;
    return await withDeadline({ clock, action, budgetMs: READ_BUDGET_MS }, ({ signal }) =>
      controlPlanes.read(key, signal),
    );
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    const record = await store.find(key).catch(() => undefined);
    if (record?.resource === undefined) throw undecided();
    return DataplaneResource.parse(JSON.parse(record.resource));
  }
}

function undecided(): OperationalError {
  return new OperationalError('ENDPOINT_UNREACHABLE', 'Dataplane tokens cannot be checked now');
}
