import { once } from 'node:events';

import { Client, credentials, type ClientDuplexStream, type ClientReadableStream } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import { describe, expect, test } from 'vitest';

import { AdminService } from '../../../../proto/gen/deregistrar/v1/admin.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { plaintext, startTestServer, type TestServer } from './server-world.ts';

interface HealthStatus {
  readonly status: string;
}

/** A client that shares nothing with the server but the contract that gRPC publishes. */
function rawClient(world: TestServer, index = 0): Client & Disposable {
  const client = new Client(world.server.addresses[index] ?? '', credentials.createInsecure());
  return Object.assign(client, {
    [Symbol.dispose]: () => {
      client.close();
    },
  });
}

interface HealthMethod {
  readonly path: string;
  readonly requestSerialize: (value: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => HealthStatus;
}

const HEALTH = loadSync(protoPath, { enums: String, defaults: true })[
  'grpc.health.v1.Health'
] as unknown as Record<'Check' | 'Watch', HealthMethod>;

function check(client: Client, service: string): Promise<string> {
  const { path, requestSerialize, responseDeserialize } = HEALTH.Check;
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service }, (error, answer) => {
      resolve(error === null ? (answer?.status ?? '') : String(error.code));
    });
  });
}

function watch(client: Client, service: string): ClientReadableStream<HealthStatus> {
  const { path, requestSerialize, responseDeserialize } = HEALTH.Watch;
  return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service });
}

async function nextStatus(call: ClientReadableStream<HealthStatus>): Promise<string> {
  const [{ status }] = (await once(call, 'data')) as [HealthStatus];
  return status;
}

describe('the health service', () => {
  test('answers for the server and for what was set, and knows no other service', async () => {
    await using world = await startTestServer();
    using client = rawClient(world);
    await expect(check(client, '')).resolves.toBe('SERVING');
    await expect(check(client, 'deregistrar.v1.Deregistrar')).resolves.toBe('5');
    world.server.setServing(false, 'deregistrar.v1.Deregistrar');
    await expect(check(client, 'deregistrar.v1.Deregistrar')).resolves.toBe('NOT_SERVING');
  });

  test('notifies its watchers, and ends the watch when the server shuts down', async () => {
    await using world = await startTestServer();
    using client = rawClient(world);
    const call = watch(client, '');
    await expect(nextStatus(call)).resolves.toBe('SERVING');
    world.server.setServing(false);
    await expect(nextStatus(call)).resolves.toBe('NOT_SERVING');
    const ended = once(call, 'status');
    const shutDown = world.server.shutDown(60_000);
    call.resume();
    await expect(ended).resolves.toEqual([expect.objectContaining({ code: 0 })]);
    await shutDown;
  });
});

describe('reflection', () => {
  test('lists what a listener serves', async () => {
    using folder = new TemporaryDir();
    await using world = await startTestServer({
      listeners: (service) => [
        plaintext('127.0.0.1:0', [service]),
        plaintext(`unix:${folder.join('admin')}`, [{ definition: AdminService, implementation: {} }]),
      ],
    });
    using agents = rawClient(world, 0);
    using admins = rawClient(world, 1);
    await expect(reflect(agents, LIST)).resolves.toContain('deregistrar.v1.Deregistrar');
    await expect(reflect(agents, LIST)).resolves.not.toContain('deregistrar.v1.Admin');
    await expect(reflect(admins, LIST)).resolves.toContain('deregistrar.v1.Admin');
  });

  test('gives the files of a symbol', async () => {
    await using world = await startTestServer();
    using client = rawClient(world);
    const answer = await reflect(client, field(4, 'deregistrar.v1.Deregistrar'));
    expect(answer).toContain('deregistrar/v1/deregistrar.proto');
    expect(answer).toContain('google/protobuf/duration.proto');
  });
});

const asIs = (bytes: Buffer): Buffer => bytes;

/** `list_services = 7` of a ServerReflectionRequest. */
const LIST = field(7, '*');

function field(number: number, text: string): Buffer {
  return Buffer.concat([Buffer.of(number * 8 + 2, text.length), Buffer.from(text)]);
}

/** @returns the bytes of the answer as text: names are in it as they are */
async function reflect(client: Client, request: Buffer): Promise<string> {
  const call: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    asIs,
    asIs,
  );
  call.on('error', () => undefined);
  const answered = once(call, 'data');
  call.end(request);
  const [answer] = (await answered) as [Buffer];
  return answer.toString('latin1');
}
