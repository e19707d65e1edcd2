import { OperationalError } from '../../../kernel/errors.ts';
import type { ReleaseBrakeRequest, ReleaseBrakeResponse } from '../../../proto/gen/deregistrar/v1/admin.ts';
import type { DeregistrarEvents } from '../../events.ts';
import type { Store } from '../../ports.ts';
import { fromWireDuration } from '../../../proto/wire-duration.ts';

export interface ReleaseBrakeDeps {
  readonly events: DeregistrarEvents;
  readonly store: Store;
}

const LONGEST_MS = 24 * 3_600_000;

export async function releaseBrake(
  { events, store }: ReleaseBrakeDeps,
  { mesh, duration }: ReleaseBrakeRequest,
): Promise<ReleaseBrakeResponse> {
  const forMs = duration === undefined ? 0 : fromWireDuration(duration);
  if (forMs <= 0 || forMs > LONGEST_MS) {
    throw new OperationalError(
      'REQUEST_INVALID',
      'Cannot release the brake: --for must be between 1s and 24h',
    );
  }
  await store.releaseBrake(mesh, (await store.nowMs()) + forMs);
  await store.hasten();
  events.brakeReleased(mesh, forMs);
  return {};
}
