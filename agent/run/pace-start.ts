import { pause, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { spread } from '../../kernel/spread.ts';
import type { DataplaneKey } from '../../kuma/dataplane.ts';
import type { AgentEvents } from '../events.ts';
import type { Endpoint } from '../ports.ts';
import type { HostState } from '../state/host-state.pure.ts';
import { hasForgotten, restartPacingMs, type PreviousRun } from './restart-pacing.pure.ts';

export interface PaceDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  readonly endpoints: readonly Endpoint[];
  readonly uptimeMs: () => number;
  /** Aborts when a stop comes first. */
  readonly stopping: AbortSignal;
}

/** The interval for endpoints that have not answered yet: a control plane may be on its way back. */
const LOOK_INTERVAL_MS = 500;
const LOOK_BUDGET_MS = 1_000;

/** Facts about the previous run, from its state file. */
export function previousRun(state: HostState): PreviousRun {
  const { owner, connected, endedAtUptimeMs, controlPlaneVersion: version } = state;
  const isGuess = connected === undefined && version === undefined;
  const deregistrationDelayMs = isGuess ? undefined : state.deregistrationDelayMs;
  return { owner, connected: connected ?? true, endedAtUptimeMs, deregistrationDelayMs, version };
}

/** Waits until the control plane accepts the name again: for its delay, or less if it has been restarted since. */
export async function paceStart(previous: HostState, key: DataplaneKey, deps: PaceDeps): Promise<void> {
  const { clock, events, uptimeMs, stopping } = deps;
  const waitMs = restartPacingMs(previousRun(previous), uptimeMs());
  if (waitMs === 0 || stopping.aborted) return;
  events.startPaced(waitMs);
  const over = new AbortController();
  const ended = AbortSignal.any([stopping, over.signal]);
  const { controlPlaneInstance: known } = previous;
  if (known !== undefined) {
    void isForgotten(known, key, { ...deps, stopping: ended }).then((forgotten) => {
      if (!forgotten || ended.aborted) return;
      events.startUnpaced();
      over.abort(new Error('The control plane has forgotten the name'));
    });
  }
  await pause(clock, waitMs, ended);
  over.abort(new Error('The wait is over'));
}

/**
 * Asks each endpoint until it has answered once.
 *
 * @returns whether all that have answered belong to another control plane than the previous run's
 */
async function isForgotten(known: string, key: DataplaneKey, deps: PaceDeps): Promise<boolean> {
  const { clock, random, stopping } = deps;
  const seen: (string | undefined)[] = [];
  let silent = deps.endpoints;
  while (silent.length > 0 && !stopping.aborted) {
    const answers = await Promise.all(silent.map((endpoint) => instanceAt(endpoint, key, deps)));
    silent = silent.filter((_endpoint, at) => answers[at] === undefined);
    seen.push(...answers.flatMap((answer) => (answer === undefined ? [] : [answer.instance])));
    if (hasForgotten(known, seen)) return true;
    await pause(clock, spread(LOOK_INTERVAL_MS, random()), stopping);
  }
  return false;
}

/** @returns `undefined` if nothing answers there; the endpoint watch says why, once kuma-dp runs */
async function instanceAt(
  endpoint: Endpoint,
  key: DataplaneKey,
  { clock, stopping: cancel }: PaceDeps,
): Promise<{ readonly instance: string | undefined } | undefined> {
  const limit = { clock, action: `reach ${endpoint.url}`, budgetMs: LOOK_BUDGET_MS, cancel };
  try {
    const { instanceId } = await withDeadline(limit, ({ signal }) => endpoint.check(key, signal));
    return { instance: instanceId };
  } catch {
    return undefined;
  }
}
