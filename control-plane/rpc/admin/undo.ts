import type { Clock } from '../../../kernel/clock.ts';
import { withDeadline } from '../../../kernel/deadline.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import { DataplaneResource, describeKey } from '../../../kuma/dataplane.ts';
import type { UndoRequest, UndoResponse } from '../../../proto/gen/deregistrar/v1/admin.ts';
import type { DeregistrarEvents } from '../../events.ts';
import type { ControlPlanes, Store } from '../../ports.ts';
import type { Sidelinings } from '../../witness/sidelinings.ts';
import { readKey } from '../requests.ts';

export interface UndoDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly sidelinings: Pick<Sidelinings, 'restore' | 'restoreAll'>;
}

const BUDGET_MS = 5_000;
const ALL_BUDGET_MS = 12_000;

const NONE = { restored: [], unrestored: [] };

/**
 * Puts a sidelined dataplane back into rotation. An existing object is newer than the deleted one, and is never
 * overwritten.
 */
export async function undo(
  { clock, events, store, controlPlanes, sidelinings }: UndoDeps,
  request: UndoRequest,
): Promise<UndoResponse> {
  if (request.allSidelined) {
    const { restored, unrestored } = await sidelinings.restoreAll(ALL_BUDGET_MS);
    return { deletedAt: undefined, restored: [...restored], unrestored: [...unrestored] };
  }
  const key = readKey(request.dataplane);
  const name = describeKey(key);
  if (await sidelinings.restore(key)) return { ...NONE, deletedAt: undefined };
  const body = await store.lastDeletedBody(key);
  if (body === undefined) {
    throw new OperationalError(
      'REQUEST_INVALID',
      `Cannot undo: no object of ${name} was deleted within a day`,
    );
  }
  await withDeadline(
    { clock, action: `put dataplane ${name} back`, budgetMs: BUDGET_MS },
    async ({ signal }) => {
      if ((await controlPlanes.read(key, signal)) !== undefined) {
        throw new OperationalError('DATAPLANE_FOREIGN', `Cannot undo: ${name} already exists`);
      }
      await controlPlanes.put(key, DataplaneResource.parse(JSON.parse(body.resource)), {
        beforeSend: () => {},
        signal,
      });
    },
  );
  events.undone(key);
  return { ...NONE, deletedAt: new Date(body.atMs) };
}
