import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

import { type FaultAction, type FaultQueue } from './faults.ts';
import { type PauseGate } from './gate.ts';
import { type Journal, type SeenRequest } from './journal.ts';
import { type Answer } from './rest-errors.ts';
import { type RestRoutes } from './rest-routes.ts';
import { SocketServer } from '../world/socket-server.ts';

export interface RestServerOptions {
  readonly routes: RestRoutes;
  readonly faults: FaultQueue;
  readonly journal: Journal;
  readonly gate: PauseGate;
  readonly host: string;
  readonly port: number;
  /** HTTPS with this certificate, or HTTP. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** Kuma's `apiServer.idleTimeout`. */
const IDLE_TIMEOUT_MS = 120_000;

/** One port of the API server. */
export function restServer(options: RestServerOptions): SocketServer {
  const respond = (request: IncomingMessage, response: ServerResponse): void => {
    // A client that resets in mid-request is no error here.
    serve(options, request, response).catch(() => response.destroy());
  };
  const { tls, host, port } = options;
  const server = tls === undefined ? createServer(respond) : createSecureServer(tls, respond);
  server.keepAliveTimeout = IDLE_TIMEOUT_MS;
  return new SocketServer(server, { host, port });
}

async function serve(
  options: RestServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const server = options.tls === undefined ? 'http' : 'https';
  const seen = await readRequest(server, request);
  options.journal.requests.push(seen);
  await options.gate.passed();
  const action = options.faults.take(seen.method, seen.path);
  if (action === undefined) {
    send(response, answer(options.routes, seen));
    return;
  }
  await misbehave(action, response, () => answer(options.routes, seen));
}

async function misbehave(action: FaultAction, response: ServerResponse, act: () => Answer): Promise<void> {
  switch (action.kind) {
    case 'answer':
      response.writeHead(action.status, { 'content-type': 'application/json', ...action.headers });
      response.end(action.body ?? '');
      return;
    case 'hang':
      return;
    case 'slow':
      await new Promise((elapsed) => {
        setTimeout(elapsed, action.delayMs).unref();
      });
      send(response, act());
      return;
    case 'endless': {
      const blanks = Buffer.alloc(1 << 20, 0x20);
      const more = (): void => {
        while (!response.destroyed && response.write(blanks));
      };
      response.on('drain', more).writeHead(200);
      more();
      return;
    }
    case 'half-body': {
      const body = bodyText(act());
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length + 2 });
      response.write(body.slice(0, Math.ceil(body.length / 2)), () => {
        response.socket?.resetAndDestroy();
      });
      return;
    }
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'reset-after':
      act();
      response.socket?.resetAndDestroy();
  }
}

export async function readRequest(
  server: SeenRequest['server'],
  request: IncomingMessage,
): Promise<SeenRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
  );
  return {
    server,
    method: request.method ?? '',
    path: request.url ?? '',
    atMs: Date.now(),
    authorization: headers['authorization'] !== undefined,
    headers,
    body: Buffer.concat(chunks).toString(),
  };
}

function answer(routes: RestRoutes, seen: SeenRequest): Answer {
  const scheme = seen.server === 'https' ? 'https' : 'http';
  return routes.answer({
    method: seen.method,
    url: new URL(seen.path, `${scheme}://${seen.headers['host'] ?? 'localhost'}`),
    authorization: seen.headers['authorization'],
    body: seen.body,
  });
}

/** Go writes short bodies with their length, and JSON with a final newline. */
function send(response: ServerResponse, { status, contentType = 'application/json', body }: Answer): void {
  const text = bodyText({ status, body });
  const headers = body === undefined ? {} : { 'content-type': contentType };
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function bodyText({ body }: Answer): string {
  if (body === undefined) return '';
  return typeof body === 'string' ? body : `${JSON.stringify(body, null, 1)}\n`;
}
