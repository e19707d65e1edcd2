import type { Clock } from '../../kernel/clock.ts';
import type { GrpcServer } from '../adapters/grpc-server.ts';
import type { Metrics } from '../adapters/metrics.ts';
import type { Engine } from '../engine.ts';
import { GUARDS, type Guard } from '../core/guards.ts';
import { CAUSES } from '../core/records.ts';
import type { Attempt, Store } from '../ports.ts';

/** Those that contain what somebody else does meanwhile. */
const UNMEASURED: ReadonlySet<PropertyKey> = new Set(['attempt', 'whileCurrent', 'close']);

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

export function noteAttempt(metrics: Metrics, { record, result }: Attempt): void {
  if (record.state === 'attached') return;
  const cause = CAUSES[record.state];
  if (result.guard !== undefined && isGuard(result.guard)) metrics.guardRefused(result.guard, cause);
  if (result.kind === 'ended') metrics.departed(cause, result.outcome);
  else metrics.retried();
}

function isGuard(name: string): name is Guard {
  return name in GUARDS;
}

/** What a scrape should find without asking the store. */
export async function refreshGauges({
  engine,
  server,
  metrics,
}: {
  readonly engine: Engine;
  readonly server: GrpcServer;
  readonly metrics: Metrics;
}): Promise<void> {
  metrics.storeUp(engine.agents.storeIsUp);
  metrics.connections(server.connections);
  for (const { url, seen } of engine.watch.controlPlanes) metrics.controlPlaneUp(url, 'facts' in seen);
  const records = await engine.deps.store.records().catch(() => undefined);
  if (records === undefined) return;
  const counts = { attached: 0, lost: 0, leaving: 0, swept: 0 };
  const held = new Map<string, number>();
  for (const { state, guard, key } of records) {
    counts[state] += 1;
    if (guard === 'brake') held.set(key.mesh, (held.get(key.mesh) ?? 0) + 1);
  }
  metrics.dataplanes(counts);
  metrics.brakeHeld(held);
}
