import process from 'node:process';

import { isAborted } from '../../kernel/aborted.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { Fact } from '../../kernel/fact.ts';
import { kumaDpAmong, startedKumaDp, uidOf } from '../child/process-tree.io.ts';
import { envoyFinder } from '../envoy/envoy.io.ts';
import { orElsewhere, untilConfigured, untilEnvoyRuns, untilUp } from '../envoy/serving.ts';
import type { AgentEvents } from '../events.ts';
import { isWrapped, obstaclesOf } from '../identity/kuma-dp-command.pure.ts';
import {
  describeRedirected,
  portsOf,
  remedyOfRedirected,
  usesTransparentProxy,
} from '../identity/transparent-proxy.pure.ts';
import type { ObjectKeeper } from '../object/keeper.ts';
import type { EnvoyAdmin, EnvoyFinder } from '../ports.ts';
import type { RunFacts } from '../stop/run-facts.ts';
import type { Supervisor } from '../stop/supervisor.ts';
import type { ServiceNotices } from '../systemd/service-notices.ts';
import type { RunRequest } from './run-request.ts';
import type { TrackedDataplane } from './track-dataplane.ts';

export interface EnvoyFollower {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly request: Pick<RunRequest, 'argv' | 'env'>;
  readonly facts: RunFacts;
  readonly supervisor: Supervisor;
  readonly service: ServiceNotices | undefined;
  /** Envoy serves. */
  readonly onReady: (() => void) | undefined;
  /** Becomes known before the dataplane does, or never. */
  readonly tracked: Fact<TrackedDataplane>;
}

/** How long after Envoy was seen it stays unknown whether the control plane accepts this run. */
const ACCEPTANCE_MS = 1_000;

/** Finds kuma-dp's Envoy and reports its progress: it runs, it has its configuration, it serves. */
export async function followEnvoy(follower: EnvoyFollower): Promise<void> {
  const { clock, events, facts, request, supervisor } = follower;
  const { over } = facts;
  const { pid } = await facts.kumaDp.known;
  const found = await untilEnvoyRuns({ clock, finder: finderFor(request, clock), kumaDpPid: pid, over });
  if (isAborted(over)) return;
  const admin = 'admin' in found ? found.admin : undefined;
  if ('hidden' in found) events.envoyHidden(found.hidden);
  supervisor.onEnvoySeen(admin);
  const seenAtMs = clock.monotonicMs();
  await facts.dataplane.known;
  const tracked = follower.tracked.value;
  tracked?.onEnvoySeen(admin);
  noteRedirect(tracked, pid, follower);
  await untilAccepted({ clock, admin, seenAtMs, over, keeper: tracked?.keeper });
  tracked?.onAccepted();
  await sayReady(follower, { admin, tracked });
}

/** Waits until Envoy serves, if a listener of this class wants to know. */
async function sayReady(
  { clock, facts: { over }, service, onReady }: EnvoyFollower,
  { admin, tracked }: { admin: EnvoyAdmin | undefined; tracked: TrackedDataplane | undefined },
): Promise<void> {
  const resource = tracked?.identity.resource;
  if (service === undefined && resource === undefined && onReady === undefined) return;
  await untilUp(clock, admin, { resource, over });
  onReady?.();
  service?.onServing();
  if (resource !== undefined) tracked?.onServing();
}

/** If kuma-dp runs elsewhere, its Envoy is not below this process. */
function finderFor({ argv, env }: Pick<RunRequest, 'argv' | 'env'>, clock: Clock): EnvoyFinder {
  const elsewhere = obstaclesOf(argv, env).find(({ hides }) => hides);
  if (elsewhere === undefined) {
    const finder = envoyFinder(clock);
    return isWrapped(argv, env) ? orElsewhere({ clock, finder, isThere: startedKumaDp }) : finder;
  }
  return { find: () => Promise.resolve({ hidden: `"${elsewhere.program}" ${elsewhere.says}` }) };
}

async function untilAccepted(envoy: {
  readonly clock: Clock;
  readonly admin: EnvoyAdmin | undefined;
  readonly seenAtMs: number;
  readonly over: AbortSignal;
  readonly keeper: ObjectKeeper | undefined;
}): Promise<void> {
  const { clock, admin, seenAtMs, over, keeper } = envoy;
  // A control plane that accepts the run does so within this time.
  const onMissing = (): void => {
    if (clock.monotonicMs() - seenAtMs >= ACCEPTANCE_MS) keeper?.onConfiguration('missing');
  };
  await untilConfigured(clock, admin, { onMissing, over });
}

/**
 * The agent runs as another user than kuma-dp, behind transparent proxying: its calls pass through the Envoy that it
 * looks after.
 */
function noteRedirect(
  tracked: TrackedDataplane | undefined,
  spawnedPid: number,
  { events, request }: EnvoyFollower,
): void {
  if (tracked === undefined) return;
  const { identity, endpoints } = tracked;
  if (!usesTransparentProxy(identity.resource, request.argv)) return;
  const ports = portsOf(endpoints.looks.flatMap(({ url }) => URL.parse(url) ?? []));
  const kumaDpUid = uidOf(kumaDpAmong(spawnedPid));
  const agentUid = process.geteuid?.();
  if (ports.length === 0 || agentUid === undefined || kumaDpUid === undefined || agentUid === kumaDpUid)
    return;
  const users = { agentUid, kumaDpUid };
  events.callsRedirected(describeRedirected(users), remedyOfRedirected(users, ports));
}
