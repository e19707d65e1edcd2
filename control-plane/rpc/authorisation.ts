import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { DataplaneResource, describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import { permits, type Permission } from '../../kuma/token-rules.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Credential, Store } from '../ports.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import type { CallerOf } from './callers.ts';
import type { TokenCheck } from './token-check.ts';

export interface AuthorisationDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly tokens: Pick<TokenCheck, 'authenticate'>;
  readonly controlPlanes: ControlPlanes;
  readonly store: Store;
  readonly watch: ZoneWatch;
  readonly onDenied: () => void;
}

/**
 * Admits a call if its token is good for this dataplane, and the caller is within its bounds.
 *
 * @throws `LIMIT_EXCEEDED`; `UNAUTHENTICATED`, `PERMISSION_DENIED`: the same words whether the dataplane exists or not;
 *   `ENDPOINT_UNREACHABLE` while that cannot be found out
 */
export type Authorise = (
  caller: CallerOf,
  key: DataplaneKey,
  brought?: DataplaneResource,
) => Promise<Credential>;

const READ_BUDGET_MS = 800;

export interface Authorisation {
  readonly authorise: Authorise;
  /** Does not check tags and workload: for a question whose answer shows nothing of the object. */
  readonly authoriseByName: (caller: CallerOf, key: DataplaneKey) => Promise<void>;
}

export function authorisation(deps: AuthorisationDeps): Authorisation {
  const { tokens, watch, events, onDenied } = deps;
  const requireAllowed = (permission: Permission, key: DataplaneKey): void => {
    if (permission.allowed) return;
    onDenied();
    events.refused(describeKey(key), 'PERMISSION_DENIED', permission.reason);
    throw new OperationalError('PERMISSION_DENIED', 'The dataplane token is not for this dataplane');
  };
  /** Checks in order of cost: locally, against the caller's limits, then at the control plane. */
  const admit = async (caller: CallerOf, key: DataplaneKey, isByName: boolean): Promise<Admitted> => {
    const credential = await tokens.authenticate(caller, key.mesh);
    const unbound = { ...credential, tags: {}, workload: '' };
    requireAllowed(permits(unbound, { key, stored: undefined, version: watch.facts.version }), key);
    const subject = `${credential.id} ${describeKey(key)}`;
    if (isByName || !isBoundToObject(credential)) caller.authenticated(subject);
    await caller.admit({ subject, address: caller.address });
    return { credential, subject };
  };
  return {
    authorise: async (caller, key, brought) => {
      const { credential, subject } = await admit(caller, key, false);
      if (!isBoundToObject(credential)) return credential;
      const { version } = watch.facts;
      if (version === undefined) throw undecided();
      const stored = await readStored(deps, key);
      requireAllowed(permits(credential, { key, stored, brought, version }), key);
      caller.authenticated(subject);
      return credential;
    },
    authoriseByName: async (caller, key) => {
      await admit(caller, key, true);
    },
  };
}

/** The subject of a token: what it is bound to. Without tokens, each dataplane is a subject. */
export function subjectOf({ name, mesh, tags, workload }: Credential, key: DataplaneKey): string {
  if (name !== '' || mesh === '') return name === '' ? key.name : name;
  return JSON.stringify([workload, Object.entries(tags).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}

interface Admitted {
  readonly credential: Credential;
  readonly subject: string;
}

/** Only these tokens need the object: most are bound to a name or a mesh. */
function isBoundToObject({ tags, workload }: Credential): boolean {
  return Object.keys(tags).length > 0 || workload !== '';
}

/**
 * The object as the control plane has it, otherwise as its agent brought it before.
 *
 * @returns `undefined` only if there is certainly none: while the object cannot be read, a caller that brings a
 *   resource under its name must not count as its first owner
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
  return new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot check dataplane tokens now');
}
