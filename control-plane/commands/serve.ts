import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';

import { collectDefaultMetrics, Registry } from 'prom-client';

import { pause, systemClock, unlessAborted, within } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { NotifyTarget } from '../../kernel/service-fields.ts';
import { openLog } from '../../program/open-log.ts';
import { ServiceManager } from '../../program/service-manager.ts';
import { systemdNotify } from '../../program/systemd-notify.ts';
import type { GrpcServer } from '../server/grpc-server.io.ts';
import { kumaControlPlanes } from '../control-planes/kuma-control-planes.io.ts';
import { createMetrics, type Metrics } from '../server/metrics.io.ts';
import { isRefusedByEnvoy } from '../agents/envoy-look.io.ts';
import { BoundedLog } from '../bounded-log.ts';
import { busyShare } from '../agents/busy-share.io.ts';
import { Engine } from '../engine.ts';
import type { ZoneStanding } from '../evidence/guards.pure.ts';
import { deregistrarEvents, type DeregistrarEvents } from '../events.ts';
import type { ServeOptions } from '../options.ts';
import type { Store } from '../ports.ts';
import { openStore } from '../store/open-store.ts';
import { startListeners } from './listeners.ts';
import { kumaAccess } from './kuma-access.ts';
import { witnessSettings } from './witness.ts';
import { gaugeRefresh, meter, noteAttempt } from './metering.ts';
import { startServer } from './start-server.ts';

export interface ServeRequest {
  readonly options: ServeOptions;
  /** Systemd's notification socket; `undefined` if systemd did not start this process. */
  readonly notify: NotifyTarget | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the program is asked to stop. */
  readonly stop: AbortSignal;
}

/** How long calls under way may go on once we are asked to stop; agents attach elsewhere meanwhile. */
const SHUTDOWN_MS = 5_000;
/** How long looks and deletions under way may then take: a lookup of a name cannot be cancelled. The store has all of them. */
const ENDING_MS = 3_000;
/** Retry interval: the control plane or the database may start later than the companion. */
const REOPEN_MS = 2_000;
const STATUS_MS = 5_000;

/** Runs the companion until `stop`. @throws {@link OperationalError} for what a retry cannot mend */
export async function serve(request: ServeRequest): Promise<void> {
  const { options, env, stop } = request;
  const { logLevel: level, logFormat: format } = options;
  const log = new BoundedLog(await openLog({ program: 'kuma-deregistrar', level, format, env }), systemClock);
  const events = deregistrarEvents(log);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = createMetrics(registry);
  await using resources = new AsyncDisposableStack();
  resources.defer(() => {
    log.flush();
  });
  const service = openService(request, events);
  resources.defer(() => service?.close());
  service?.tell({ status: 'opening the store' });
  const store = await openPatiently(options.store, events, stop);
  if (store === undefined) return;
  resources.defer(() => store.close());
  const kuma = kumaAccess(options, events.fileKept);
  const controlPlanes = kumaControlPlanes({ clock: systemClock, ...kuma });
  resources.defer(() => {
    controlPlanes.close();
  });
  // A silent name server may hold each of these for a minute.
  const witness = await unlessAborted(stop, witnessSettings(options, kuma, metrics));
  if (witness === undefined) return;
  const engine = new Engine({
    clock: systemClock,
    random: Math.random,
    events,
    store: meter(store, metrics, systemClock),
    controlPlanes,
    replica: `${hostname()}-${randomUUID().slice(0, 8)}`,
    settings: settingsOf(options),
    isRefused: (record) => isRefusedByEnvoy(record, systemClock),
    ...metricsOf(metrics),
    busyShare: busyShare(),
    witness,
  });
  service?.tell({ status: 'waiting for a control plane and its certificate' });
  await unlessAborted(stop, engine.watch.look());
  requireOwnZone(engine.watch.zone);
  const starting = startServer({ engine, options, events, metrics, kuma, stop, resources });
  const serving = await unlessAborted(stop, starting);
  if (serving === undefined) return;
  const refreshGauges = gaugeRefresh(metrics, systemClock, serving);
  const listeners = await startListeners({ engine, options, events, registry, refreshGauges });
  resources.defer(() => listeners?.close());
  await runUntil(stop, { ...serving, events, service });
}

/** @throws `STORE_UNUSABLE` where the store belongs to another zone, or the control planes to two */
function requireOwnZone(zone: ZoneStanding): void {
  if (zone.kind !== 'foreign') return;
  throw new OperationalError(
    'STORE_UNUSABLE',
    `Cannot start: ${zone.reason}. Give each zone a store of its own; a zone that was set up anew, an empty one`,
  );
}

async function runUntil(
  stop: AbortSignal,
  { engine, server, events, service }: RunningServer,
): Promise<void> {
  const over = new AbortController();
  const running = engine.run(over.signal);
  const told = service === undefined ? undefined : keepTelling(service, { engine, stop }, over.signal);
  await new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    stop.addEventListener('abort', () => {
      resolve();
    });
  });
  service?.tell({ stopping: true, status: `stopping: redirecting ${engine.agents.size} agents` });
  events.stopping(engine.agents.size);
  engine.agents.shutDown('this replica is stopping');
  await server.shutDown(SHUTDOWN_MS);
  over.abort(new OperationalError('CANCELLED', 'The companion stops'));
  await within(systemClock, ENDING_MS, Promise.all([running, told]));
  events.stopped();
}

interface RunningServer {
  readonly engine: Engine;
  readonly server: GrpcServer;
  readonly events: DeregistrarEvents;
  readonly service: ServiceManager | undefined;
}

async function keepTelling(
  service: ServiceManager,
  { engine, stop }: { readonly engine: Engine; readonly stop: AbortSignal },
  signal: AbortSignal,
): Promise<void> {
  let said: string | undefined;
  while (!signal.aborted) {
    const status = `serving, ${engine.agents.size} agents attached`;
    if (status !== said && !stop.aborted) service.tell({ ready: true, status });
    said = status;
    await pause(systemClock, STATUS_MS, signal);
  }
}

function openService({ notify, env }: ServeRequest, events: DeregistrarEvents): ServiceManager | undefined {
  if (notify === undefined) return undefined;
  return new ServiceManager({
    clock: systemClock,
    send: systemdNotify(systemClock, notify, env['PATH'] ?? ''),
    watchdogMs: notify.watchdogMs,
    onUnheard: events.notificationLost,
  });
}

/** @returns `undefined` if asked to stop first */
async function openPatiently(
  location: string,
  events: DeregistrarEvents,
  stop: AbortSignal,
): Promise<Store | undefined> {
  for (let said = false; !stop.aborted; said = true) {
    try {
      return await openStore(location, { clock: systemClock });
    } catch (error) {
      if (!(error instanceof OperationalError) || !error.retryable) throw error;
      if (!said) events.storeLost(error);
      await pause(systemClock, REOPEN_MS, stop);
    }
  }
  return undefined;
}

function settingsOf(options: ServeOptions): Engine['deps']['settings'] {
  const { sweepOfflineAfter } = options;
  return {
    graceMs: options.graceMs,
    sweep: sweepOfflineAfter === 'off' || sweepOfflineAfter === 'report' ? sweepOfflineAfter : 'delete',
    sweepOfflineAfterMs: typeof sweepOfflineAfter === 'number' ? sweepOfflineAfter : SWEEP_MS,
    heal: options.heal === 'on',
    brake: {
      share: Number.parseInt(options.brakeShare, 10) / 100,
      minimum: Number(options.brakeMinimum),
      windowMs: options.brakeWindowMs,
    },
  };
}

const SWEEP_MS = 600_000;

function metricsOf(metrics: Metrics): Pick<Engine['deps'], 'onAttempt' | 'onHealed'> {
  return {
    onAttempt: (attempt, tookMs) => {
      noteAttempt(metrics, attempt, tookMs);
    },
    onHealed: metrics.healed,
  };
}
