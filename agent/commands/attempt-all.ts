import { systemClock } from '../../kernel/clock.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { writeError } from '../child/standard-streams.io.ts';
import type { AgentEvents } from '../events.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import { Endpoints } from '../object/endpoints.ts';
import { ObjectKeeper } from '../object/keeper.ts';
import type { Departure, Endpoint } from '../ports.ts';
import type { Deregistration } from '../stop/phases.pure.ts';

/** Shared by all attempts of one call. */
export interface Attempts {
  readonly events: AgentEvents;
  /** On the monotonic clock. */
  readonly byMs: number;
}

/** The agent never writes an inline dataplane token to disk. */
export function warnWithoutToken(urls: readonly URL[]): void {
  if (!urls.some(isCompanion)) return;
  writeError('No dataplane token: the companion will refuse. Set --dataplane-token-file');
}

export interface Way {
  readonly endpoints: readonly Endpoint[];
  readonly take: (keeper: ObjectKeeper, byMs: number) => Promise<Deregistration>;
}

/**
 * Tries the endpoints in order until one has decided. The remaining endpoints share the remaining time.
 *
 * @returns whether nothing is left to do
 */
export async function attemptAll(
  { events, byMs: endsAtMs }: Attempts,
  departure: Departure,
  ways: readonly Way[],
): Promise<boolean> {
  let result: Deregistration | undefined;
  for (const [at, way] of ways.entries()) {
    const nowMs = systemClock.monotonicMs();
    const byMs = nowMs + Math.max(0, endsAtMs - nowMs) / (ways.length - at);
    result = await attempt(way, { departure, events, byMs });
    if (result.outcome !== 'failed') break;
  }
  if (result === undefined) return false;
  const dataplane = describeKey(departure.key);
  if (result.outcome === 'kept') writeError(`${dataplane} was not deregistered: ${result.reason}`);
  else events.deregistered({ ...result, dataplane });
  return result.outcome === 'gone' || result.outcome === 'handed over';
}

async function attempt(
  { endpoints, take }: Way,
  {
    departure,
    events,
    byMs,
  }: { readonly departure: Departure; readonly events: AgentEvents; readonly byMs: number },
): Promise<Deregistration> {
  const shared = { clock: systemClock, events, random: Math.random };
  const keeper = new ObjectKeeper({
    ...shared,
    endpoints: new Endpoints({ ...shared, endpoints, key: departure.key, settle: 'auto' }),
    departure,
    template: undefined,
    mayDelete: true,
  });
  try {
    return await take(keeper, byMs);
  } finally {
    keeper.close();
  }
}

export function deregisterOutright(keeper: ObjectKeeper, byMs: number): Promise<Deregistration> {
  return keeper.deregister(byMs);
}

/** No process of that run exists, so only the control plane can prove that it has ended. */
export async function takeOver(keeper: ObjectKeeper, byMs: number): Promise<Deregistration> {
  const { outcome, reason = outcome } = await keeper.confirm(byMs);
  const details = { endpoint: undefined, attempts: 1 };
  switch (outcome) {
    case 'gone':
      return { outcome: 'gone', reason: 'already gone', ...details };
    case 'deleted again':
      return { outcome: 'gone', reason: 'deleted', ...details };
    case 'left':
      return { outcome: 'kept', reason, ...details };
    case 'unknown':
      return { outcome: 'failed', reason, ...details };
  }
}
