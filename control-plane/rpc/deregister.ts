import type { Clock } from '../../kernel/clock.ts';
import { DeregisterResponse_Outcome as Outcome } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { DeregisterRequest, DeregisterResponse } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { RequestedStanding, RequestedDepartures } from '../departures/requested-departures.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import type { DepartureOutcome } from '../records.pure.ts';
import type { Authorise } from './authorisation.ts';
import type { CallContext } from './handlers.ts';
import { asIntroduction } from './requests.ts';

export interface DeregisterDeps {
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly agents: AttachedAgents;
  readonly requested: RequestedDepartures;
}

/** Time reserved for the answer to reach its caller. */
const ANSWER_MARGIN_MS = 150;
/** For a caller that set no deadline. */
const PATIENCE_MS = 5_000;

const OUTCOMES: Readonly<Record<DepartureOutcome, Outcome>> = {
  deleted: Outcome.DELETED,
  'already gone': Outcome.ALREADY_GONE,
  refused: Outcome.REFUSED,
  superseded: Outcome.REFUSED,
};

export async function deregister(
  { clock, authorise, agents, requested }: DeregisterDeps,
  request: DeregisterRequest,
  context: CallContext,
): Promise<DeregisterResponse> {
  const begunMs = clock.monotonicMs();
  const unattached = asIntroduction(request.incarnation);
  await authorise(context.caller, unattached.key);
  context.requireWaiting();
  const attached = agents.find(unattached.key)?.introduction;
  const introduction = attached?.incarnation === unattached.incarnation ? attached : unattached;
  const patienceMs = Math.max(0, (context.remainingMs ?? PATIENCE_MS) - ANSWER_MARGIN_MS);
  return asResponse(await requested.request(introduction, begunMs + patienceMs));
}

function asResponse(standing: RequestedStanding): DeregisterResponse {
  if (standing.kind === 'superseded') {
    return {
      outcome: Outcome.REFUSED,
      guard: 'newer-epoch',
      reason: 'a newer incarnation has the name',
      durable: true,
    };
  }
  const { guard = '', reason, durable } = standing;
  const outcome = standing.kind === 'ended' ? OUTCOMES[standing.outcome] : Outcome.ACCEPTED;
  return { outcome, guard, reason, durable };
}
