import { sleep, type Clock } from '../../kernel/clock.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { hasListeners, listensOn } from './envoy-activity.pure.ts';
import { listeningPorts } from '../../kuma/port-states.ts';
import type { EnvoyAdmin, EnvoyFinder, HiddenEnvoy } from '../ports.ts';

/**
 * How often the agent looks: often while a start waits, rarely for a kuma-dp whose control plane is away, which retries
 * for five minutes.
 */
const EAGER_POLL_MS = 50;
const EAGER_FOR_MS = 15_000;
const PATIENT_POLL_MS = 1_000;

export interface EnvoyWatch {
  readonly clock: Clock;
  readonly finder: EnvoyFinder;
  readonly kumaDpPid: number;
  readonly over: AbortSignal;
}

/** How long an Envoy may take from its process to its admin interface. */
const STARTING_MS = 2_000;

/** Resolves when kuma-dp has started its Envoy; the admin is `undefined` if it cannot be asked. */
export async function untilEnvoyRuns(
  watch: EnvoyWatch,
): Promise<{ readonly admin: EnvoyAdmin } | HiddenEnvoy> {
  const { clock, finder, kumaDpPid, over } = watch;
  const startedAtMs = clock.monotonicMs();
  let seenAtMs: number | undefined;
  for (;;) {
    const lookup = await finder.find(kumaDpPid);
    if (lookup !== 'absent') {
      seenAtMs ??= clock.monotonicMs();
      const isStarting = 'hidden' in lookup && lookup.mayPass === true;
      if (!isStarting || clock.monotonicMs() - seenAtMs >= STARTING_MS) return lookup;
    }
    await sleep(clock, pollMs(clock.monotonicMs() - startedAtMs), over);
  }
}

/** Tools that fetch secrets before they start kuma-dp take seconds. */
const ELSEWHERE_MS = 30_000;

/**
 * For a kuma-dp behind an unknown program: it may be in another container, PID namespace or host. A kuma-dp that the
 * agent cannot see may still exist, so a stop gives the peers their time.
 */
export function orElsewhere(watch: {
  readonly clock: Clock;
  readonly finder: EnvoyFinder;
  /** Whether kuma-dp is among what was started as `pid`. */
  readonly isThere: (pid: number) => boolean;
}): EnvoyFinder {
  const { clock, finder, isThere } = watch;
  const startedAtMs = clock.monotonicMs();
  return {
    async find(pid) {
      const found = await finder.find(pid);
      if (found !== 'absent' || clock.monotonicMs() - startedAtMs < ELSEWHERE_MS || isThere(pid))
        return found;
      return {
        hidden:
          'no process below the command is kuma-dp, so it runs where this agent cannot see it: another container, PID namespace or host. Put the agent inside, in front of kuma-dp itself',
      };
    },
  };
}

/** Resolves when Envoy listens on every port of the resource. */
export async function untilServing(
  clock: Clock,
  admin: EnvoyAdmin,
  serving: { readonly resource: DataplaneResource; readonly over: AbortSignal },
): Promise<void> {
  const ports = listeningPorts(serving.resource);
  const startedAtMs = clock.monotonicMs();
  for (;;) {
    // The admin answers only once Envoy has come up so far.
    const listeners = await admin.listeners().catch(() => ({}));
    if (listensOn(listeners, ports)) return;
    await sleep(clock, pollMs(clock.monotonicMs() - startedAtMs), serving.over);
  }
}

/**
 * Resolves when the control plane has given Envoy its configuration: only then has it accepted the dataplane. Kuma's
 * bootstrap has no listeners of its own and waits for the first configuration without a limit. `onMissing` is called
 * each time Envoy says that it has none; an admin that does not answer says nothing.
 *
 * @see kuma v2.14.3 pkg/xds/bootstrap/template_v3.go (InitialFetchTimeout)
 */
export async function untilConfigured(
  clock: Clock,
  admin: EnvoyAdmin | undefined,
  { onMissing, over }: { readonly onMissing: () => void; readonly over: AbortSignal },
): Promise<void> {
  if (admin === undefined) return;
  const startedAtMs = clock.monotonicMs();
  for (;;) {
    const configured = await isConfigured(admin).catch(() => undefined);
    if (configured === true) return;
    if (configured === false) onMissing();
    await sleep(clock, pollMs(clock.monotonicMs() - startedAtMs), over);
  }
}

/** @returns `undefined` where Envoy does not say in which state it is */
async function isConfigured(admin: EnvoyAdmin): Promise<boolean | undefined> {
  if (hasListeners(await admin.listeners())) return true;
  const stats = await admin.stats(LIVE_STATS_FILTER);
  return STATE.test(stats) ? LIVE.test(stats) : undefined;
}

/** The stats that show that Envoy is live: it has its first configuration, and its listeners are warm. */
const LIVE_STATS_FILTER = '^server\\.state$';
const STATE = /^server\.state: \d/m;
const LIVE = /^server\.state: 0$/m;

/** Resolves when Envoy says that it is live: for a dataplane whose ports are unknown on this host. */
export async function untilLive(clock: Clock, admin: EnvoyAdmin, over: AbortSignal): Promise<void> {
  const startedAtMs = clock.monotonicMs();
  for (;;) {
    if (LIVE.test(await admin.stats(LIVE_STATS_FILTER).catch(() => ''))) return;
    await sleep(clock, pollMs(clock.monotonicMs() - startedAtMs), over);
  }
}

/** Resolves when Envoy serves. An Envoy whose admin interface is unknown counts as serving. */
export async function untilUp(
  clock: Clock,
  admin: EnvoyAdmin | undefined,
  up: { readonly resource: DataplaneResource | undefined; readonly over: AbortSignal },
): Promise<void> {
  if (admin === undefined) return;
  const { resource, over } = up;
  await (resource === undefined || listeningPorts(resource).length === 0
    ? untilLive(clock, admin, over)
    : untilServing(clock, admin, { resource, over }));
}

function pollMs(sinceMs: number): number {
  return sinceMs < EAGER_FOR_MS ? EAGER_POLL_MS : PATIENT_POLL_MS;
}
