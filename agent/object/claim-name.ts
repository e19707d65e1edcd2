import type { Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import type { CompanionAttachment } from '../companion/attachment.ts';
import type { Owner, OwnerChoice } from '../identity/owner.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { ObjectKeeper } from './keeper.ts';

export interface ClaimDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly keeper: Pick<ObjectKeeper, 'claim'>;
  /** `undefined` where there is no companion. */
  readonly attachment: CompanionAttachment | undefined;
  /** Aborts when a stop comes first. */
  readonly stopping: AbortSignal;
}

export interface Claim {
  readonly choice: OwnerChoice;
  /** The operator chose `--lifecycle agent`: the agent registers the object even without a companion. */
  readonly insistent: boolean;
}

/**
 * A start waits no longer than this for its control plane: together with loading, less than a second. It is not shorter
 * on a slow machine, because everything else is slow there as well, and a start that gives up costs its next restart
 * ten seconds more.
 */
const CLAIM_BUDGET_MS = 800;
/** A companion that has just given an epoch answers quickly, so it gets this long to put the object as well. */
const REGISTER_FLOOR_MS = 200;
/** Time reserved for the registration where the agent needs no epoch for it. */
const REGISTER_RESERVE_MS = 400;

/**
 * Takes an epoch at a companion, if there is one, and puts the object if the agent is to own it. If one of them does
 * not succeed in time, kuma-dp starts as without the agent and its control plane creates the object.
 *
 * @returns who owns the object
 */
export async function claimName(deps: ClaimDeps, claim: Claim): Promise<Owner> {
  const { clock, events, attachment, stopping } = deps;
  const { owner, because } = claim.choice;
  if (because !== undefined) events.ownershipGivenUp(because);
  if (stopping.aborted) return owner;
  const byMs = clock.monotonicMs() + CLAIM_BUDGET_MS;
  const fenced = await attach(deps, claim, byMs);
  const settled = fenced || owner !== 'agent' ? await register(deps, claim, byMs) : 'cp';
  attachment?.confirmOwner(settled);
  return settled;
}

/** @returns whether the object may be put: it has an epoch, or does not need one */
async function attach(
  { clock, events, attachment, stopping }: ClaimDeps,
  { choice, insistent }: Claim,
  byMs: number,
): Promise<boolean> {
  if (attachment === undefined) return true;
  const reserveMs = insistent ? REGISTER_RESERVE_MS : 0;
  const budgetMs = Math.max(0, byMs - reserveMs - clock.monotonicMs());
  const epoch = await attachment.begin(choice.owner, budgetMs, stopping);
  if (epoch !== undefined) return true;
  if (!stopping.aborted) events.companionMissed(budgetMs);
  return insistent;
}

async function register(
  { clock, events, keeper, stopping }: ClaimDeps,
  { choice: { owner } }: Claim,
  byMs: number,
): Promise<Owner> {
  if (owner !== 'agent' || stopping.aborted) return owner;
  try {
    const budgetMs = Math.max(byMs - clock.monotonicMs(), REGISTER_FLOOR_MS);
    await keeper.claim(budgetMs, stopping);
    events.dataplaneRegistered();
    return 'agent';
  } catch (error) {
    events.ownershipGivenUp(describeError(error));
    return 'cp';
  }
}
