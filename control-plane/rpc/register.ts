import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import { asNotReady, asReady } from '../../kuma/owned-resource.ts';
import { judgeOwnership } from '../../kuma/ownership.ts';
import { NO_OBJECT, turned, type RotationAnswer, type RotationOrder } from '../../kuma/rotation.ts';
import type { RegisterRequest, RegisterResponse } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import { crashPoint } from '../departures/crash-points.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Fence, Store } from '../ports.ts';
import type { Authorise } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { readIncarnation, readResource, readRotation } from './requests.ts';

export interface RegisterDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly authorise: Authorise;
  readonly agents: AttachedAgents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
}

const PUT_BUDGET_MS = 1_500;

/**
 * Puts the object of an attached agent, while nobody deletes or attaches under its name.
 *
 * Only for the incarnation that has the name: the put of an older one would overwrite its successor's object.
 */
export async function register(
  deps: RegisterDeps,
  request: RegisterRequest,
  context: CallContext,
): Promise<RegisterResponse> {
  if (request.rotation !== undefined) return rotate(deps, request, context);
  const { key, incarnation, address } = readIncarnation(request.incarnation);
  const resource = readResource(key, request.resource);
  await deps.authorise(context.metadata, key, resource);
  context.authenticated();
  const epoch = await epochOf(deps, { key, incarnation });
  const put = await deps.store.whileCurrent({ key, epoch }, async (record, fence) => {
    if (record.incarnation !== incarnation || record.state === 'leaving') return false;
    await write(deps, { own: { incarnation, address }, resource, ready: request.ready }, fence);
    return true;
  });
  if (put !== true) throw foreign(describeKey(key), 'a newer incarnation has the name, or this one leaves');
  crashPoint('register.put');
  deps.events.registered({ key, incarnation, epoch }, request.ready);
  return { ...NO_OBJECT, found: true };
}

/** For every attached agent, whoever owns its object: what stands there is changed, and nothing is put that is not there. */
async function rotate(
  deps: RegisterDeps,
  request: RegisterRequest,
  context: CallContext,
): Promise<RegisterResponse> {
  const { key, incarnation, address } = readIncarnation(request.incarnation);
  if (request.rotation === undefined) return NO_OBJECT;
  const order = readRotation(request.rotation);
  await deps.authorise(context.metadata, key);
  context.authenticated();
  const epoch = await epochOf(deps, { key, incarnation });
  const answer = await deps.store.whileCurrent({ key, epoch }, async (record, fence) =>
    record.incarnation !== incarnation || record.state === 'leaving'
      ? undefined
      : turn(deps, { key, own: { incarnation, address }, order }, fence),
  );
  if (answer === undefined)
    throw foreign(describeKey(key), 'a newer incarnation has the name, or this one leaves');
  return answer;
}

interface Turn {
  readonly key: DataplaneKey;
  readonly own: Put['own'];
  readonly order: RotationOrder;
}

function turn({ clock, controlPlanes }: RegisterDeps, how: Turn, fence: Fence): Promise<RotationAnswer> {
  const { key, own, order } = how;
  const name = describeKey(key);
  return withDeadline(
    { clock, action: `turn dataplane ${name}`, budgetMs: PUT_BUDGET_MS },
    async ({ signal }) => {
      const stored = await controlPlanes.read(key, signal);
      if (stored === undefined) return NO_OBJECT;
      const ownership = judgeOwnership(own, stored);
      if (!ownership.ours) throw foreign(name, ownership.reason);
      const { resource, ...answer } = turned(stored, order);
      if (!answer.changed) return answer;
      await controlPlanes.put(key, resource, fenced(fence, signal));
      return answer;
    },
  );
}

function fenced(fence: Fence, signal: AbortSignal): Parameters<ControlPlanes['put']>[2] {
  return {
    beforeSend: () => {
      fence.assertHeld();
    },
    signal,
  };
}

/** An agent may have attached at another replica. */
async function epochOf(
  { agents, store }: RegisterDeps,
  { key, incarnation }: Pick<ReturnType<typeof readIncarnation>, 'key' | 'incarnation'>,
): Promise<number> {
  const attached = agents.find(key);
  if (attached?.arrival.incarnation === incarnation && attached.epoch !== undefined) return attached.epoch;
  const record = await store.find(key);
  if (record?.incarnation === incarnation) return record.epoch;
  throw foreign(describeKey(key), 'this incarnation is not attached');
}

interface Put {
  readonly own: { readonly incarnation: string; readonly address: string | undefined };
  readonly resource: DataplaneResource;
  readonly ready: boolean;
}

async function write({ clock, controlPlanes }: RegisterDeps, put: Put, fence: Fence): Promise<void> {
  const { own, resource, ready } = put;
  const key = { proxyType: 'dataplane', mesh: resource.mesh ?? '', name: resource.name } as const;
  const name = describeKey(key);
  const beforeSend = (): void => {
    crashPoint('register.sending');
    fence.assertHeld();
  };
  await withDeadline(
    { clock, action: `put dataplane ${name}`, budgetMs: PUT_BUDGET_MS },
    async ({ signal }) => {
      if (!ready) {
        await controlPlanes.put(key, asNotReady(resource, own.incarnation), { beforeSend, signal });
        return;
      }
      const stored = (await controlPlanes.read(key, signal)) ?? asNotReady(resource, own.incarnation);
      const ownership = judgeOwnership(own, stored);
      if (!ownership.ours) throw foreign(name, ownership.reason);
      await controlPlanes.put(key, asReady(stored, resource), { beforeSend, signal });
    },
  );
}

function foreign(name: string, reason: string): OperationalError {
  return new OperationalError('DATAPLANE_FOREIGN', `Dataplane ${name} is left alone: ${reason}`);
}
