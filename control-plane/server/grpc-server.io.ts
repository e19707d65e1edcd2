import type { Server as NetServer } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';

import { Server, ServerCredentials, type ConnectionInjector, type ServerOptions } from '@grpc/grpc-js';

import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import {
  ConnectionLimits,
  type ConnectionCounts,
  type ConnectionLimit,
  type ConnectionLimitSettings,
} from './connection-limits.io.ts';
import type { PeerConnection } from '../attached-agent.ts';
import { Connections, type ConnectionEvents } from './connections.io.ts';
import { nameOfService, type GrpcService } from './grpc-service.io.ts';
import { Health } from './health.io.ts';
import { formatListenerAddress, isLocal, type ListenerAddress } from '../../kernel/listener-address.ts';
import { boundAddress, isExposed, openListener } from '../../program/listener.ts';
import { DarkWatch } from '../../program/dark-watch.ts';
import { knowsKeepAlive } from '../../program/keepalive.ts';
import { reflectionServices } from './reflection.io.ts';
import type { ServerCertificate } from '../../program/server-certificate.ts';

export interface ListenerSettings {
  readonly address: ListenerAddress;
  /** `undefined`: in plain text, which only this host may reach. */
  readonly certificate: ServerCertificate | undefined;
  /** The services of this listener. */
  readonly services: readonly GrpcService[];
}

export interface ServerLimits extends ConnectionLimitSettings {
  /** The largest received message, decompressed. */
  readonly messageBytes: number;
  /** Open at once on one connection. */
  readonly streamsPerConnection: number;
  /** How often a peer's process is pinged; it has `pingTimeoutMs` to answer. */
  readonly pingMs: number;
  readonly pingTimeoutMs: number;
}

export interface GrpcServerSettings {
  readonly listeners: readonly ListenerSettings[];
  readonly limits: ServerLimits;
  readonly clock: Clock;
  readonly events: ConnectionEvents;
}

/**
 * The kernel's keepalive and unacknowledged data find a silent host. Pings find a process that froze while its kernel
 * answers. Their timeout is longer than the kernel needs for a host, so that the kernel finds those first.
 */
export const DEFAULT_LIMITS: ServerLimits = {
  connections: 20_000,
  authenticatedPerSubject: 16,
  authenticatedPerAddress: 15_000,
  unauthenticated: 1_000,
  unauthenticatedPerAddress: 64,
  firstCallMs: 10_000,
  messageBytes: 256 * 1024,
  streamsPerConnection: 16,
  pingMs: 60_000,
  pingTimeoutMs: 15_000,
};

/** Together the 15 s within which a silent host is then missed. */
const LONE_PINGS = { pingMs: 10_000, pingTimeoutMs: 4_000 };

/** How long a connection without an authenticated call stays open after the server has begun to shut down. */
const PARTING_MS = 250;

/** Identifies the connection of a call. */
interface GrpcCall {
  getPeer(): string;
}

export interface Listener {
  readonly address: string;
  readonly connections: Connections;
  readonly injector: ConnectionInjector;
  close(): Promise<void>;
}

/**
 * Starts all listeners, or none.
 *
 * @throws OperationalError `CONFIG_INVALID`, `LISTENER_FAILED`
 */
export async function startGrpcServer(settings: GrpcServerSettings): Promise<GrpcServer> {
  const { clock } = settings;
  const limits = knowsKeepAlive() ? settings.limits : withoutKeepalive(settings.limits);
  const health = new Health();
  const connectionLimits = new ConnectionLimits(limits, clock);
  const darkWatch = new DarkWatch(clock);
  const server = new GrpcServer(connectionLimits, health, clock);
  try {
    for (const listener of settings.listeners) {
      server.add(
        await startListener({ ...settings, limits }, listener, { connectionLimits, darkWatch, health }),
      );
    }
  } catch (error) {
    await server.shutDown(0);
    throw error;
  }
  return server;
}

/** A running server. */
export class GrpcServer {
  readonly #listeners: Listener[] = [];
  readonly #limits: ConnectionLimits;
  readonly #health: Health;
  readonly #clock: Clock;
  #shuttingDown: Promise<void> | undefined;

  constructor(limits: ConnectionLimits, health: Health, clock: Clock) {
    this.#limits = limits;
    this.#health = health;
    this.#clock = clock;
  }

  /** What it listens on, in the order of the settings, with the ports that the kernel chose. */
  get addresses(): readonly string[] {
    return this.#listeners.map(({ address }) => address);
  }

  /** Limits of all TCP listeners. Unix sockets do not count */
  get connections(): ConnectionCounts {
    return this.#limits.counts;
  }

  /** Call it during the start. */
  add(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /**
   * Call it for an authenticated call: its connection may stay, within the limits.
   *
   * @returns which limit its connection is over; then the connection is cut soon
   */
  authenticated(call: GrpcCall, subject: string): ConnectionLimit | undefined {
    const peer = call.getPeer();
    for (const { connections } of this.#listeners) {
      const over = connections.authenticated(peer, subject);
      if (over !== undefined) return over;
    }
    return undefined;
  }

  /**
   * Ask it while the call lasts.
   *
   * @returns `undefined` on a Unix socket, which cannot fall silent
   */
  connectionOf(call: GrpcCall): PeerConnection | undefined {
    const peer = call.getPeer();
    for (const { connections } of this.#listeners) {
      const connection = connections.find(peer);
      if (connection !== undefined) return connection;
    }
    return undefined;
  }

  /** @param service its full name, empty for the server as a whole */
  setServing(serving: boolean, service = ''): void {
    this.#health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING');
  }

  /**
   * Ends the server. It accepts nothing new, sends clients elsewhere (GOAWAY), gives calls in progress `graceMs` to
   * end, then cuts the rest. The first call counts. Never rejects.
   */
  shutDown(graceMs: number): Promise<void> {
    this.#shuttingDown ??= this.#shutDown(graceMs);
    return this.#shuttingDown;
  }

  async #shutDown(graceMs: number): Promise<void> {
    this.setServing(false);
    this.#health.endWatches();
    const closed = this.#listeners.map((listener) => listener.close());
    for (const { injector } of this.#listeners) injector.drain(graceMs);
    const armed = [
      this.#clock.after(Math.min(graceMs, PARTING_MS), () => {
        for (const { connections } of this.#listeners) connections.cutStrangers();
      }),
      this.#clock.after(graceMs, () => {
        for (const { connections } of this.#listeners) connections.cutAll();
      }),
    ];
    await Promise.all(closed);
    for (const disarm of armed) disarm();
    for (const { injector } of this.#listeners) injector.destroy();
  }
}

async function startListener(
  settings: GrpcServerSettings,
  { address, certificate, services }: ListenerSettings,
  shared: {
    readonly connectionLimits: ConnectionLimits;
    readonly darkWatch: DarkWatch;
    readonly health: Health;
  },
): Promise<Listener> {
  if (certificate === undefined && !isLocal(address)) throw exposed(address);
  const interceptors = services.flatMap((service) => service.interceptors ?? []);
  const grpc = new Server({ ...grpcOptions(settings.limits), interceptors });
  const names = services.map(({ definition }) => nameOfService(definition));
  for (const service of [...services, shared.health.service(), ...reflectionServices(names)])
    grpc.addService(service.definition, service.implementation);
  // This class decrypts TLS itself: HTTP/2 gets the plain stream.
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const tls = address.kind === 'tcp' && certificate !== undefined ? tlsServer(certificate) : undefined;
  const connections = new Connections({
    clock: settings.clock,
    limits: shared.connectionLimits,
    darkWatch: shared.darkWatch,
    events: settings.events,
    trusted: address.kind === 'unix',
    tls,
    ready: (socket) => {
      injector.injectConnection(socket);
    },
  });
  const server = await openListener(address, (socket) => {
    connections.accept(socket);
  });
  const close = (): Promise<void> => closeListener(server, tls);
  if (tls === undefined && isExposed(server)) {
    await close();
    throw exposed(address);
  }
  return { address: formatListenerAddress(boundAddress(server, address)), connections, injector, close };
}

/** Resolves when the last connection has ended. */
function closeListener(server: NetServer, tls: TlsServer | undefined): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      tls?.emit('close');
      resolve();
    });
  });
}

function grpcOptions(limits: ServerLimits): ServerOptions {
  return {
    'grpc.max_receive_message_length': limits.messageBytes,
    'grpc.max_concurrent_streams': limits.streamsPerConnection,
    'grpc.keepalive_time_ms': limits.pingMs,
    'grpc.keepalive_timeout_ms': limits.pingTimeoutMs,
    // Unused per-connection statistics.
    'grpc.enable_channelz': 0,
  };
}

/** Pings alone find silent hosts if the kernel's probes are too rare. */
function withoutKeepalive(limits: ServerLimits): ServerLimits {
  const pingMs = Math.min(limits.pingMs, LONE_PINGS.pingMs);
  return { ...limits, pingMs, pingTimeoutMs: Math.min(limits.pingTimeoutMs, LONE_PINGS.pingTimeoutMs) };
}

function exposed(address: ListenerAddress): OperationalError {
  const where = formatListenerAddress(address);
  return new OperationalError(
    'CONFIG_INVALID',
    `Cannot listen on ${where} without TLS: tokens would travel unencrypted. Only loopback addresses and Unix sockets may`,
  );
}

/** This server has no listener: its `connection` event hands it sockets. */
function tlsServer(certificate: ServerCertificate): TlsServer {
  return certificate.renewing(createTlsServer({ ...certificate.options, ALPNProtocols: ['h2'] }));
}
