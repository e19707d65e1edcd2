import { OperationalError } from '../../../kernel/errors.ts';
import type { SweepRequest, SweepResponse } from '../../../proto/gen/deregistrar/v1/admin.ts';
import type { Sweeper } from '../../evidence/sweeper.ts';
import { toWireDuration } from '../../../proto/wire-duration.ts';

export async function sweep(sweeper: Sweeper | undefined, { dryRun }: SweepRequest): Promise<SweepResponse> {
  if (sweeper === undefined) {
    throw new OperationalError('REQUEST_INVALID', 'Cannot sweep: --sweep-offline-after is off');
  }
  const findings = await sweeper.sweep(dryRun);
  return {
    candidates: findings.map(({ key, offlineMs, guard, reason }) => ({
      dataplane: key,
      offline: offlineMs === undefined ? undefined : toWireDuration(offlineMs),
      guard: guard ?? '',
      reason,
    })),
  };
}
