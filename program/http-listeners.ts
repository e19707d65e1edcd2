import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { isIP } from 'node:net';

import type { Registry } from 'prom-client';

import type { Clock } from '../kernel/clock.ts';
import { withDeadline } from '../kernel/deadline.ts';
import { describeError } from '../kernel/errors.ts';
import { formatListenerAddress, type ListenerAddress } from '../kernel/listener-address.ts';
import { boundConnections } from './http-connections.ts';
import { boundAddress, listenOn } from './listener.ts';
import type { ServerCertificate } from './server-certificate.ts';

/** Answers GET and HEAD for one path; Node leaves the body of an answer to HEAD out. */
export interface HttpRoute {
  readonly path: string;
  serve(request: IncomingMessage, response: ServerResponse): void | Promise<void>;
}

export interface HttpListenersSettings {
  readonly address: ListenerAddress;
  readonly routes: readonly HttpRoute[];
  /** Without it: plain HTTP. */
  readonly certificate?: ServerCertificate | undefined;
  /**
   * Answers only requests to an IP address or to localhost, except on a Unix socket. Without a token, this keeps a
   * foreign site, whose name was pointed to this host, from reading answers through a browser here.
   *
   * @see https://en.wikipedia.org/wiki/DNS_rebinding
   */
  readonly ownNamesOnly: boolean;
  /** Called when a route threw. The client learns nothing of the error. */
  onError(path: string, err: unknown): void;
}

export interface HttpListeners {
  /** `HOST:PORT`, with the port that the kernel chose, or `unix:PATH`. */
  readonly address: string;
  /** Closes the listener and open answers. */
  close(): Promise<void>;
}

/**
 * A client may pipeline requests without reading: 64 KB of requests are 1,500 answers in memory. After this many
 * answers the connection of an ordinary client is closed; a client that has sent more is cut off.
 */
const REQUESTS_PER_CONNECTION = 8;
const REQUEST_MS = 5_000;
/** A connection without traffic for this long is cut. Event streams send something more often than that. */
const SILENCE_MS = 30_000;
const READINESS_MS = 3_000;

/** @throws OperationalError `LISTENER_FAILED` */
export async function startHttpListeners(settings: HttpListenersSettings): Promise<HttpListeners> {
  const routes = new Map(settings.routes.map((route) => [route.path, route]));
  const server = serverFor(settings.certificate, (request, response) => {
    void answer(routes, settings, [request, response]).catch((error: unknown) => {
      settings.onError(request.url ?? '', error);
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { error: 'Internal error' });
    });
  });
  boundConnections(server);
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  server.on('dropRequest', (_request, socket) => {
    socket.destroy();
  });
  server.setTimeout(SILENCE_MS);
  await listenOn(server, settings.address);
  return {
    address: formatListenerAddress(boundAddress(server, settings.address)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

function serverFor(
  certificate: ServerCertificate | undefined,
  onRequest: RequestListener,
): Server | TlsServer {
  const limits = {
    headersTimeout: REQUEST_MS,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: REQUEST_MS,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 8 * 1024,
  };
  if (certificate === undefined) return createServer(limits, onRequest);
  const options = { ...limits, ...certificate.options, handshakeTimeout: REQUEST_MS };
  return certificate.renewing(createTlsServer(options, onRequest));
}

/** Liveness: answers as long as the process can. */
export function liveRoute(): HttpRoute {
  return {
    path: '/livez',
    serve: (_request, response) => {
      sendJson(response, 200, { live: true });
    },
  };
}

/** @param reasons why it is not ready; none if it is. One that throws, or takes longer than 3 s, is a reason too */
export function readyRoute(clock: Clock, reasons: () => Promise<readonly string[]>): HttpRoute {
  return {
    path: '/readyz',
    serve: async (_request, response) => {
      const found = await withDeadline(
        { clock, action: 'find out whether it is ready', budgetMs: READINESS_MS },
        reasons,
      ).catch((error: unknown) => [describeError(error)]);
      sendJson(response, found.length === 0 ? 200 : 503, { ready: found.length === 0, reasons: found });
    },
  };
}

/** @param refresh updates the gauges before a scrape */
export function metricsRoute(
  registry: Registry,
  refresh: () => Promise<void> = () => Promise.resolve(),
): HttpRoute {
  return {
    path: '/metrics',
    serve: async (_request, response) => {
      await refresh();
      const text = await registry.metrics();
      response.writeHead(200, { 'content-type': registry.contentType }).end(text);
    },
  };
}

async function answer(
  routes: ReadonlyMap<string, HttpRoute>,
  { ownNamesOnly, address }: Pick<HttpListenersSettings, 'ownNamesOnly' | 'address'>,
  [request, response]: readonly [IncomingMessage, ServerResponse],
): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?', 1);
  response.setHeader('cache-control', 'no-store').setHeader('x-content-type-options', 'nosniff');
  if (ownNamesOnly && address.kind === 'tcp' && !isOwnName(request.headers.host)) {
    sendJson(response, 403, { error: 'Use localhost or an address; a proxy must set the Host header' });
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    // Drops the request body, which no handler reads.
    response.setHeader('allow', 'GET, HEAD').setHeader('connection', 'close');
    sendJson(response, 405, { error: 'Only GET and HEAD' });
    return;
  }
  const route = routes.get(path);
  if (route === undefined) sendJson(response, 404, { error: 'Not found', paths: [...routes.keys()] });
  else await route.serve(request, response);
}

/** A browser always sends a Host header; an HTTP/1.0 probe may not. */
function isOwnName(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]*))(?::\d+)?$/.exec(host)?.groups;
  const bare = name?.['v6'] ?? name?.['host'] ?? '';
  return bare.toLowerCase() === 'localhost' || isIP(bare) !== 0;
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}
