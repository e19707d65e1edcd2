import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import { createServer } from 'node:tls';

import { type BootstrapRequest, decodeNode, type NodeInfo } from './bootstrap-protocol.ts';
import { type FaultQueue } from './faults.ts';
import { type PauseGate } from './gate.ts';
import { GRPC_STATUS, GrpcStream } from './grpc-stream.ts';
import { type Journal } from './journal.ts';
import { readRequest } from './rest-server.ts';
import { SocketServer } from '../world/socket-server.ts';

/** What the bootstrap endpoint answers: JSON, or plain text with an error status. */
export interface BootstrapReply {
  readonly status: number;
  readonly body: unknown;
}

export interface DataplaneServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer };
  readonly journal: Journal;
  readonly faults: FaultQueue;
  readonly gate: PauseGate;
  readonly bootstrap: (request: BootstrapRequest) => Promise<BootstrapReply>;
  readonly discovery: (stream: GrpcStream, node: NodeInfo) => Promise<void>;
  /** `undefined` where health feedback is switched off. */
  readonly health: ((stream: GrpcStream, node: NodeInfo) => Promise<void>) | undefined;
}

const DISCOVERY_PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
const HEALTH_PATH = '/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck';

/** Kuma's port 5678: bootstrap over HTTP/1.1 and Envoy's gRPC streams over HTTP/2, both over TLS. */
export function dataplaneServer(options: DataplaneServerOptions): SocketServer {
  const http = createHttpServer((request, response) => {
    answerBootstrap(options, request, response).catch(() => response.destroy());
  });
  const server = createServer({ ...options.tls, ALPNProtocols: ['h2', 'http/1.1'] }, (socket) => {
    if (socket.alpnProtocol !== 'h2') {
      http.emit('connection', socket);
      return;
    }
    const session = performServerHandshake(socket);
    session.on('error', () => {
      // A reset connection counts as closed; its streams report it themselves.
    });
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      void serveStream(options, new GrpcStream(stream, headers));
    });
  });
  server.on('tlsClientError', () => {
    // A client may distrust the certificate.
  });
  return new SocketServer(server, options);
}

async function serveStream(options: DataplaneServerOptions, stream: GrpcStream): Promise<void> {
  const node = decodeNode(stream.headers);
  if (node !== undefined && stream.path === DISCOVERY_PATH) await options.discovery(stream, node);
  else if (node !== undefined && stream.path === HEALTH_PATH) await options.health?.(stream, node);
  else stream.fail(GRPC_STATUS.unimplemented, `unknown service ${stream.path}`);
}

async function answerBootstrap(
  options: DataplaneServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const seen = await readRequest('dataplane', request);
  options.journal.requests.push(seen);
  await options.gate.passed();
  const fault = options.faults.take(seen.method, seen.path);
  if (fault?.kind === 'hang') return;
  if (fault?.kind === 'answer') {
    response.writeHead(fault.status, { ...fault.headers }).end(fault.body ?? '');
    return;
  }
  if (fault !== undefined) {
    response.socket?.destroy();
    return;
  }
  if (seen.method !== 'POST' || seen.path !== '/bootstrap') {
    response.writeHead(404).end('404: Page Not Found');
    return;
  }
  const reply = await options.bootstrap(JSON.parse(seen.body) as BootstrapRequest);
  response.writeHead(reply.status, { 'content-type': 'application/json' });
  response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
}
