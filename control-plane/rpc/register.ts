import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { describeKey, type DataplaneKey, type DataplaneResource } from '../../kuma/dataplane.ts';
import { portStates } from '../../kuma/port-states.ts';
import { restored } from '../../kuma/sidelined.ts';
import { madeOf, nextObject, type Made, type Want } from '../../kuma/object-wish.ts';
import type { OwnDataplane } from '../../kuma/ownership.ts';
import type { RegisterRequest, RegisterResponse } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import { crashPoint } from '../departures/crash-points.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ControlPlanes, Fence, Store } from '../ports.ts';
import type { Authorise } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { readIncarnation, readRegister } from './requests.ts';

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
 * Changes the object of an attached agent as the agent wishes, while no other caller deletes or attaches under its
 * name. Only for the incarnation that has the name: an older one's PUT would overwrite its successor's object.
 */
export async function register(
  deps: RegisterDeps,
  request: RegisterRequest,
  context: CallContext,
): Promise<RegisterResponse> {
  const { key, incarnation, address } = readIncarnation(request.incarnation);
  const asked = readRegister(key, request);
  await deps.authorise(context.caller, key, asked.template);
  const epoch = await epochOf(deps, { key, incarnation });
  context.requireWaiting();
  const made = await deps.store.whileCurrent({ key, epoch }, async (record, fence) =>
    record.incarnation !== incarnation || record.state === 'leaving'
      ? undefined
      : make(deps, { key, own: { incarnation, address }, want: asked }, fence),
  );
  if (made === undefined)
    throw foreign(describeKey(key), 'a newer incarnation has the name, or this one leaves');
  if (made.changed && asked.template !== undefined) {
    crashPoint('register.put');
    deps.events.registered({ key, incarnation, epoch }, asked.wish.state === 'ready');
  }
  return made;
}

interface Make {
  readonly key: DataplaneKey;
  readonly own: OwnDataplane;
  readonly want: Want;
}

function make({ clock, controlPlanes, store }: RegisterDeps, how: Make, fence: Fence): Promise<Made> {
  const { key, own, want } = how;
  const { wish } = want;
  const name = describeKey(key);
  return withDeadline(
    { clock, action: `put dataplane ${name}`, budgetMs: PUT_BUDGET_MS },
    async ({ signal }) => {
      const takesOver = wish.state === 'hidden' && wish.takeOver;
      const read = takesOver ? undefined : await controlPlanes.read(key, signal);
      // If the control plane keeps no labels, only the store knows that the object is sidelined.
      const stored = read === undefined ? undefined : await unsidelined(store, key, read);
      const next = nextObject(stored, want, own);
      if (next.next === 'foreign') throw foreign(name, next.reason);
      if (next.next === 'put') await controlPlanes.put(key, next.resource, fenced(fence, signal));
      else if (next.next === 'nothing' && stored !== undefined && stored !== read)
        await controlPlanes.put(key, stored, fenced(fence, signal));
      return madeOf(stored, next);
    },
  );
}

/** @returns the same object if it is not sidelined */
async function unsidelined(
  store: RegisterDeps['store'],
  key: DataplaneKey,
  read: DataplaneResource,
): Promise<DataplaneResource> {
  const isOut = Object.values(portStates(read)).includes('NotReady');
  const sidelining = isOut ? await store.sidelining(key) : undefined;
  return sidelining?.isMarked === false && sidelining.isEffective === true
    ? restored(read, sidelining.states)
    : read;
}

function fenced(fence: Fence, signal: AbortSignal): Parameters<ControlPlanes['put']>[2] {
  return {
    beforeSend: () => {
      crashPoint('register.sending');
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
  if (attached?.introduction.incarnation === incarnation && attached.epoch !== undefined)
    return attached.epoch;
  const record = await store.find(key);
  if (record?.incarnation === incarnation) return record.epoch;
  throw foreign(describeKey(key), 'this incarnation is not attached');
}

function foreign(name: string, reason: string): OperationalError {
  return new OperationalError('DATAPLANE_FOREIGN', `Dataplane ${name} stays as it is: ${reason}`);
}
