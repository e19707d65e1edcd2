import { sleep, type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { Confirmation, Departure } from '../ports.ts';
import type { Confirmed } from '../stop/phases.pure.ts';
import type { Endpoints } from './endpoints.ts';
import type { OutstandingWrites } from './outstanding-writes.ts';

export interface ConfirmGoneDeps {
  readonly clock: Clock;
  readonly endpoints: Endpoints;
  readonly departure: Departure;
  readonly writes: OutstandingWrites;
}

const INTERVAL_MS = 300;
const UNANSWERED: Confirmed = {
  outcome: 'unknown',
  reason: 'an unanswered write may still create it',
};

/** Whether the object is still gone at the end, by `byMs` (monotonic). Never throws. */
export async function confirmGone(deps: ConfirmGoneDeps, byMs: number): Promise<Confirmed> {
  const { clock, departure, endpoints, writes } = deps;
  let last: Confirmed = { outcome: 'unknown', reason: 'there was no time to look' };
  while (clock.monotonicMs() < byMs) {
    try {
      const { value } = await endpoints.ask({
        action: `confirm that dataplane ${describeKey(departure.key)} is gone`,
        budgetMs: byMs - clock.monotonicMs(),
        attempt: (endpoint, signal) => endpoint.confirm(departure, 'ended', signal),
      });
      const seen = confirmedOf(value);
      if (value.verdict === 'leave') return seen;
      if (value.verdict !== 'wait' && !writes.against({ state: 'absent' })) return seen;
      last = value.verdict === 'wait' ? seen : UNANSWERED;
    } catch (error) {
      // An earlier result is better than a missing one.
      if (last.outcome !== 'left') last = { outcome: 'unknown', reason: describeError(error) };
    }
    await sleep(clock, Math.min(INTERVAL_MS, Math.max(0, byMs - clock.monotonicMs())));
  }
  return last;
}

function confirmedOf(confirmation: Confirmation): Confirmed {
  switch (confirmation.verdict) {
    case 'gone':
      return { outcome: 'gone' };
    case 'deleted':
      return { outcome: 'deleted again' };
    case 'wait':
    case 'leave':
      return { outcome: 'left', reason: confirmation.reason };
  }
}
