import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

import {
  credentials,
  Metadata,
  type ChannelCredentials,
  type ClientOptions,
  type ServerDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';

import type { ConnectionEvents } from '../../../../control-plane/server/connections.io.ts';
import {
  DEFAULT_LIMITS,
  startGrpcServer,
  type GrpcServer,
  type ListenerSettings,
  type ServerLimits,
} from '../../../../control-plane/server/grpc-server.io.ts';
import type { GrpcService } from '../../../../control-plane/server/grpc-service.io.ts';
import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { systemClock, type Clock } from '../../../../kernel/clock.ts';
import {
  DeregistrarClient,
  DeregistrarService,
  Owner,
  type AttachRequest,
  type AttachResponse,
  type DeregistrarServer,
  type DeregisterResponse,
} from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { LossCause } from '../../../../control-plane/witness/loss.pure.ts';
import type { TemporaryDir } from '../../../support/world/temporary-dir.ts';

export interface ServerEvent {
  readonly event: string;
  readonly what: string;
}

export interface TestServer extends AsyncDisposable {
  readonly server: GrpcServer;
  readonly events: readonly ServerEvent[];
  /** Attach streams that are open, in the order they came. */
  readonly streams: readonly { end(): void }[];
  /** Writes a message to every attach stream. */
  say(): void;
  /** Why streams have ended, in order. */
  readonly losses: readonly LossCause[];
  client(index?: number, options?: Partial<ClientOptions>, secrets?: ChannelCredentials): DeregistrarClient;
  /** Plain TCP to a listener. */
  dial(index?: number): Promise<Socket>;
}

type OpenStream = Pick<ServerDuplexStream<AttachRequest, AttachResponse>, 'end' | 'write'>;

interface TestServerOptions {
  readonly limits?: Partial<ServerLimits>;
  readonly clock?: Clock;
  readonly listeners?: (service: GrpcService) => readonly ListenerSettings[];
}

export const plaintext = (address: string, services: readonly GrpcService[]): ListenerSettings => ({
  address: parseListenerAddress(address),
  certificate: undefined,
  services,
});

/** A server whose callers are authenticated by the metadata `authorization: good`. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const events: ServerEvent[] = [];
  const streams: OpenStream[] = [];
  const losses: LossCause[] = [];
  const clients: DeregistrarClient[] = [];
  const sockets: Socket[] = [];
  const running: { server?: GrpcServer } = {};
  const service = testService(running, streams, losses);
  const listeners = options.listeners?.(service) ?? [plaintext('127.0.0.1:0', [service])];
  const server = await startGrpcServer({
    listeners,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    clock: options.clock ?? systemClock,
    events: recordEvents(events),
  });
  running.server = server;
  server.setServing(true);
  const target = (index: number): string => {
    const address = server.addresses[index];
    if (address === undefined) throw new RangeError(`There is no listener ${index}`);
    return address;
  };
  return {
    server,
    events,
    streams,
    losses,
    say: () => {
      for (const stream of streams) stream.write({ message: { $case: 'ask', value: {} } });
    },
    client: (index = 0, clientOptions = {}, secrets = credentials.createInsecure()) => {
      const client = new DeregistrarClient(target(index), secrets, {
        // Not the connection of another client of this process.
        'grpc.use_local_subchannel_pool': 1,
        ...clientOptions,
      });
      clients.push(client);
      return client;
    },
    dial: async (index = 0) => {
      const { hostname, port } = new URL(`tcp://${target(index)}`);
      const socket = connect(Number(port), hostname);
      sockets.push(socket);
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      for (const socket of sockets) socket.destroy();
      await server.shutDown(0);
    },
  };
}

export function token(value = 'good'): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', value);
  return metadata;
}

/** One call. @returns `ok`, or the name of its status and its message */
export function ask(client: DeregistrarClient, metadata = token(), deadlineMs = 20_000): Promise<string> {
  return new Promise((resolve) => {
    client.getControlPlane(
      { dataplane: undefined, services: [], findSilent: false },
      metadata,
      { deadline: Date.now() + deadlineMs },
      (error) => {
        resolve(error === null ? 'ok' : describe(error));
      },
    );
  });
}

/** A Deregister whose incarnation has an id of `bytes` bytes. */
export function askBig(client: DeregistrarClient, bytes: number, metadata = token()): Promise<string> {
  const request = { incarnation: { id: 'x'.repeat(bytes), dataplane: undefined, address: '' } };
  return new Promise((resolve) => {
    client.deregister(request, metadata, (error) => {
      resolve(error === null ? 'ok' : describe(error));
    });
  });
}

function describe(error: ServiceError): string {
  return `${error.code} ${error.details}`;
}

export const HELLO: AttachRequest = {
  message: { $case: 'phaseChanged', value: { phase: 'running', serving: true, owner: Owner.UNSPECIFIED } },
};

/** Makes NAME.crt and NAME.key anew, signed by `authority`, and AUTHORITY.crt if it is missing. */
export function makeCertificate(
  folder: TemporaryDir,
  name: string,
  authority = 'ca',
): { readonly certificateFile: string; readonly keyFile: string } {
  const openssl = (line: string): void => {
    execFileSync('openssl', line.split(' '), { cwd: folder.path, stdio: 'pipe' });
  };
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';
  if (!existsSync(folder.join(`${authority}.crt`)))
    openssl(
      `req -x509 ${newKey} -keyout ${authority}.key -out ${authority}.crt -subj /CN=${authority} -days 9`,
    );
  openssl(`req ${newKey} -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`);
  writeFileSync(folder.join('extensions'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const signer = `-CA ${authority}.crt -CAkey ${authority}.key -CAcreateserial`;
  openssl(`x509 -req -in ${name}.csr ${signer} -days 9 -extfile extensions -out ${name}.crt`);
  return { certificateFile: folder.join(`${name}.crt`), keyFile: folder.join(`${name}.key`) };
}

const notServed = (): never => {
  throw new TypeError('Not served here');
};

function testService(
  running: { server?: GrpcServer },
  streams: OpenStream[],
  losses: LossCause[],
): GrpcService {
  const deregistered: DeregisterResponse = { outcome: 1, guard: '', reason: '', durable: true };
  const implementation: DeregistrarServer = {
    getControlPlane: (call, callback) => {
      if (call.metadata.get('authorization')[0] === 'good') running.server?.authenticated(call, 'test');
      callback(null, { controlPlane: undefined, siblings: 0, silentControlPlanes: [] });
    },
    deregister: (_call, callback) => {
      callback(null, deregistered);
    },
    attach: (call) => {
      streams.push(call);
      const connection = running.server?.connectionOf(call);
      let ended = false;
      const onEnd = async (): Promise<void> => {
        if (ended || connection === undefined) return;
        ended = true;
        losses.push(await connection.lossCause());
      };
      for (const end of ['end', 'cancelled']) call.on(end, () => void onEnd());
      call.on('data', (request: AttachRequest) => {
        running.server?.authenticated(call, 'test');
        if (request.message?.$case === 'stopped') call.end();
        else call.write({ message: { $case: 'redirected', value: { reason: 'seen' } } });
      });
      call.on('end', () => {
        call.end();
      });
    },
    register: notServed,
    confirm: notServed,
  };
  return { definition: DeregistrarService, implementation: { ...implementation } };
}

function recordEvents(events: ServerEvent[]): ConnectionEvents {
  return {
    connectionRefused: (limit) => {
      events.push({ event: 'refused', what: limit });
    },
    handshakeFailed: (_address, err) => {
      events.push({ event: 'handshake failed', what: err instanceof Error ? err.name : String(err) });
    },
  };
}
