import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { judgeRecreation, judgeReturn } from '../../kuma/ownership.ts';
import { ConfirmResponse_Verdict as Verdict } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ConfirmRequest, ConfirmResponse } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { RequestedDepartures } from '../departures/requested-departures.ts';
import type { ControlPlanes, Store } from '../ports.ts';
import type { Authorise } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { asIntroduction } from './requests.ts';

export interface ConfirmCallDeps {
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly store: Store;
  readonly controlPlanes: ControlPlanes;
  readonly requested: RequestedDepartures;
}

const LOOK_BUDGET_MS = 1_000;
const DELETE_BUDGET_MS = 1_000;

/** An agent without a companion judges in the same way. The deletion counts as one more requested departure. */
export async function confirm(
  { clock, authorise, store, controlPlanes, requested }: ConfirmCallDeps,
  request: ConfirmRequest,
  context: CallContext,
): Promise<ConfirmResponse> {
  const introduction = asIntroduction(request.incarnation);
  const { key, incarnation, address } = introduction;
  await authorise(context.caller, key);
  const record = await store.find(key).catch(() => undefined);
  if (record !== undefined && record.incarnation !== incarnation) {
    return { verdict: Verdict.LEAVE, reason: 'a newer incarnation has the name' };
  }
  const action = `look at dataplane ${describeKey(key)}`;
  const { overview } = await withDeadline({ clock, action, budgetMs: LOOK_BUDGET_MS }, ({ signal }) =>
    controlPlanes.overview(key, signal),
  );
  if (overview === undefined) return { verdict: Verdict.GONE, reason: '' };
  const judge = request.serving ? judgeReturn : judgeRecreation;
  const { verdict, reason } = judge({ incarnation, address }, overview);
  if (verdict !== 'delete') return { verdict: verdict === 'wait' ? Verdict.WAIT : Verdict.LEAVE, reason };
  context.requireWaiting();
  const standing = await requested.request(introduction, clock.monotonicMs() + DELETE_BUDGET_MS, true);
  if (standing.kind === 'superseded')
    return { verdict: Verdict.LEAVE, reason: 'a newer incarnation has the name' };
  if (standing.kind === 'pending') return { verdict: Verdict.WAIT, reason: standing.reason };
  const gone = standing.outcome === 'deleted' || standing.outcome === 'already gone';
  return { verdict: gone ? Verdict.DELETED : Verdict.LEAVE, reason: standing.reason };
}
