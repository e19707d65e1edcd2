import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

import { type ControlPlane, type ServerName } from './control-plane.ts';
import { type RestFault } from './faults.ts';
import { readRequest } from './rest-server.ts';
import { SocketServer } from '../world/socket-server.ts';

/** What the program prints when everything listens. */
export interface ReadyLine {
  readonly instanceId: string;
  readonly ports: Readonly<Record<ServerName | 'control', number>>;
}

/** What a test may ask of a control plane that runs as a program. `POST /<command>` with JSON; `GET /journal`. */
type Command = (controlPlane: ControlPlane, body: unknown) => unknown;

const COMMANDS: Readonly<Record<string, Command>> = {
  faults: (controlPlane, body) => {
    controlPlane.faults.add(body as RestFault);
  },
  pause: (controlPlane) => {
    controlPlane.pause();
  },
  resume: (controlPlane) => {
    controlPlane.resume();
  },
  'refuse-connections': (controlPlane, body) => controlPlane.refuseConnections(serversIn(body)),
  'accept-connections': (controlPlane, body) => controlPlane.acceptConnections(serversIn(body)),
  'drop-streams': (controlPlane, body) => {
    const { name } = (body ?? {}) as { readonly name?: string };
    controlPlane.dropStreams(name);
  },
};

/** The port through which tests control a control plane in another process. */
export function controlPort(controlPlane: ControlPlane, host: string): SocketServer {
  const server = createServer((request, response) => {
    answer(controlPlane, request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  return new SocketServer(server, { host, port: 0 });
}

async function answer(
  controlPlane: ControlPlane,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method, path, body } = await readRequest('http', request);
  if (method === 'GET' && path === '/journal') {
    const { requests, events } = controlPlane.journal;
    response.end(JSON.stringify({ requests, events }));
    return;
  }
  const command = COMMANDS[path.slice(1)];
  if (method !== 'POST' || command === undefined) {
    response.writeHead(404).end(`unknown: ${method} ${path}`);
    return;
  }
  await command(controlPlane, body === '' ? undefined : JSON.parse(body));
  response.end('{}');
}

function serversIn(body: unknown): readonly ServerName[] | undefined {
  return (body as { readonly servers?: readonly ServerName[] } | undefined)?.servers;
}
