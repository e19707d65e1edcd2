import { systemClock } from '../../kernel/clock.ts';
import { parseListenerAddress } from '../../kernel/listener-address.ts';
import type { ConnectionEvents } from '../server/connections.io.ts';
import { descriptorLimit } from '../server/descriptor-limit.io.ts';
import { adviceOnDescriptors, connectionsWithin } from '../server/descriptors.pure.ts';
import {
  DEFAULT_LIMITS,
  startGrpcServer,
  type GrpcServer,
  type ServerLimits,
} from '../server/grpc-server.io.ts';
import type { Metrics } from '../server/metrics.io.ts';
import type { Engine } from '../engine.ts';
import type { DeregistrarEvents } from '../events.ts';
import { DEFAULT_LISTEN, type ServeOptions } from '../options.ts';
import { CallBounds } from '../rpc/call-bounds.ts';
import { adminService, deregistrarService } from '../rpc/services.ts';
import { openAuthentication } from './authentication.ts';
import { openCertificate } from './certificate.ts';
import type { KumaAccess } from './kuma-access.ts';
import type { GaugeSources } from './metering.ts';

export interface ServerParts {
  readonly engine: Engine;
  readonly events: DeregistrarEvents;
  readonly metrics: Metrics;
  readonly options: ServeOptions;
  readonly kuma: KumaAccess;
  readonly stop: AbortSignal;
  readonly resources: AsyncDisposableStack;
}

/** @returns `undefined` if asked to stop first */
export async function startServer(parts: ServerParts): Promise<GaugeSources | undefined> {
  const { engine, options, events, metrics, kuma, stop, resources } = parts;
  const startedAtMs = systemClock.monotonicMs();
  const addresses = options.listen.length === 0 ? [DEFAULT_LISTEN] : options.listen;
  const certificate = await openCertificate(options, { addresses, kuma, events, stop });
  if (certificate === 'stopped') return undefined;
  if (certificate !== undefined) resources.defer(certificate.watch(systemClock));
  const isKnownMesh = (mesh: string): boolean => engine.watch.knowsMesh(mesh);
  const authenticator = openAuthentication(options, kuma, { events, metrics, isKnownMesh });
  const bounds = new CallBounds({ clock: systemClock, onRefused: metrics.callRefused });
  let server: GrpcServer | undefined;
  const agentService = deregistrarService({
    engine,
    authenticator,
    onDenied: () => {
      metrics.tokenRejected('permission-denied');
    },
    bounds,
    markAuthenticated: (call, subject) => server?.authenticated(call, subject),
    connectionOf: (call) => server?.connectionOf(call),
  });
  const limits = limitsOf(options);
  const descriptors = await descriptorLimit();
  const connections = connectionsWithin(limits.connections, descriptors);
  server = await startGrpcServer({
    listeners: [
      ...addresses.map((address) => ({ address, certificate, services: [agentService] })),
      {
        address: parseListenerAddress(`unix:${options.adminSocket}`),
        certificate: undefined,
        services: [adminService(engine, startedAtMs)],
      },
    ],
    limits: { ...limits, connections, expected: () => engine.expected.size },
    clock: systemClock,
    events: connectionEvents(parts, { most: limits.connections, descriptors }),
  });
  const started = server;
  resources.defer(() => started.shutDown(0));
  server.setServing(true);
  events.started({ listen: server.addresses, store: engine.deps.store.kind, replica: engine.deps.replica });
  return { engine, server, bounds, certificate };
}

/** Counts what is refused, and says it. */
function connectionEvents(
  { metrics, events }: Pick<ServerParts, 'metrics' | 'events'>,
  { most, descriptors }: { readonly most: number; readonly descriptors: number | undefined },
): ConnectionEvents {
  return {
    connectionRefused: (limit, address) => {
      metrics.connectionRefused(limit);
      const advice = limit === 'connections' ? adviceOnDescriptors(most, descriptors) : '';
      events.connectionRefused(limit, address, advice);
    },
    handshakeFailed: (address, err) => {
      metrics.handshakeFailed();
      events.handshakeFailed(address, err);
    },
  };
}

/** Time for the answer to a ping: as much as the kernel takes to miss a host, so that it finds those first. */
function limitsOf({ pingIntervalMs: pingMs }: ServeOptions): ServerLimits {
  return { ...DEFAULT_LIMITS, pingMs, pingTimeoutMs: Math.min(DEFAULT_LIMITS.pingTimeoutMs, 2 * pingMs) };
}
