import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import type { GrpcServer } from '../server/grpc-server.io.ts';
import type { Metrics } from '../server/metrics.io.ts';
import type { AttachedAgent } from '../attached-agent.ts';
import type { Engine } from '../engine.ts';
import type { CallBounds } from '../rpc/call-bounds.ts';
import { GUARDS, type Guard } from '../evidence/guards.pure.ts';
import { totalsOf } from '../record-totals.pure.ts';
import { CAUSES } from '../records.pure.ts';
import type { AttemptedDeletion, Store } from '../ports.ts';

/** Operations that contain other parts' work, so their time is not the store's. */
const UNMEASURED: ReadonlySet<PropertyKey> = new Set(['attempt', 'whileCurrent', 'whileAlone', 'close']);

/** A store whose answers are timed. */
export function meter(store: Store, metrics: Metrics, clock: Clock): Store {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (UNMEASURED.has(name)) return value.bind(target) as unknown;
      return async (...given: readonly unknown[]): Promise<unknown> => {
        const begunMs = clock.monotonicMs();
        try {
          return (await value.apply(target, given)) as unknown;
        } finally {
          metrics.storeAnswered(String(name), clock.monotonicMs() - begunMs);
        }
      };
    },
  });
}

/** @param tookMs how long ago the departure began */
export function noteAttempt(metrics: Metrics, { record, result }: AttemptedDeletion, tookMs: number): void {
  if (record.state === 'attached') return;
  const cause = CAUSES[record.state];
  if (result.guard !== undefined && isGuard(result.guard)) metrics.guardRefused(result.guard, cause);
  if (result.kind === 'later') {
    metrics.retried();
    return;
  }
  metrics.departed(cause, result.outcome);
  if (cause === 'requested') metrics.deregistered(tookMs);
}

function isGuard(name: string): name is Guard {
  return name in GUARDS;
}

/** The sources of the gauges. */
export interface GaugeSources {
  readonly engine: Engine;
  readonly server: GrpcServer;
  readonly bounds: CallBounds;
  /** `undefined` where everything is in plain text. */
  readonly certificate: { readonly expiresAtMs: number } | undefined;
}

const COUNT_BUDGET_MS = 2_000;

/** Updates the gauges for a scrape; simultaneous scrapes share one look. Never throws. */
export function gaugeRefresh(metrics: Metrics, clock: Clock, sources: GaugeSources): () => Promise<void> {
  let looking: Promise<void> | undefined;
  return () => {
    looking ??= refreshGauges(metrics, clock, sources).finally(() => {
      looking = undefined;
    });
    return looking;
  };
}

async function refreshGauges(
  metrics: Metrics,
  clock: Clock,
  { engine, server, bounds, certificate }: GaugeSources,
): Promise<void> {
  const { store } = engine.deps;
  metrics.storeUp(engine.heartbeat.storeIsUp);
  metrics.connections(server.connections);
  metrics.callsHeld(bounds.held);
  metrics.zoneSize(engine.watch.size);
  metrics.agents(versionsOf(engine.agents));
  metrics.unrecorded(engine.requested.unrecorded);
  if (certificate !== undefined) metrics.certificateExpires(certificate.expiresAtMs);
  for (const { url, seen } of engine.watch.controlPlanes) metrics.controlPlaneUp(url, 'facts' in seen);
  const counts = await withDeadline({ clock, action: 'count the records', budgetMs: COUNT_BUDGET_MS }, () =>
    store.counts(),
  ).catch(() => undefined);
  metrics.records(counts === undefined ? undefined : totalsOf(counts));
  metrics.suspects(engine.witnesses.suspects.all.length);
  const sidelinings = await withDeadline(
    { clock, action: 'count the sidelined dataplanes', budgetMs: COUNT_BUDGET_MS },
    () => store.sidelinings(),
  ).catch(() => undefined);
  metrics.sidelined(sidelinings?.length);
}

/** The agent states its version itself. Invalid ones, and those beyond the limit, are counted together. */
export function versionsOf(agents: Iterable<Pick<AttachedAgent, 'channel'>>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { channel } of agents) {
    const { version = '' } = channel;
    const isKnown = counts.has(version) || (counts.size < MOST_VERSIONS && VERSION_FORM.test(version));
    const name = isKnown ? version : 'other';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

const MOST_VERSIONS = 20;
const VERSION_FORM = /^\d{1,4}\.\d{1,4}\.\d{1,4}(-[\w.]{1,20})?$/;
