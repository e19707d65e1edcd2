import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import process from 'node:process';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ServerCertificate } from '../../../../program/server-certificate.ts';
import type { StreamEnd } from '../../../../agent/ports.ts';
import { readUnacknowledged } from '../../../../kernel/socket-table.ts';
import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { attachTo, plainEndpoint } from '../../../support/companion-endpoint.ts';
import { NetworkHosts, needNetworkNamespaces, type NetworkHost } from '../../../support/namespaces.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import {
  makeCertificate,
  startTestServer,
  type TestServer,
} from '../../../integration/companion/server/server-world.ts';

const STREAMS = 40;

/** Opens streams, each on a connection of its own, and prints a line when all are attached. */
const AGENTS = `
  import { Client, credentials } from '@grpc/grpc-js';
  const [address, count] = process.argv.slice(1);
  const secured = credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  const asIs = (bytes) => bytes;
  let attached = 0;
  for (let nth = 0; nth < Number(count); nth += 1) {
    const client = new Client(address, secured, { 'grpc.use_local_subchannel_pool': 1 });
    const call = client.makeBidiStreamRequest('/deregistrar.v1.Deregistrar/Attach', asIs, asIs);
    call.on('error', () => undefined);
    call.once('data', () => { attached += 1; if (attached === Number(count)) console.log('attached'); });
    call.write(Buffer.from([0x12, 0x00]));
  }
`;

/** A companion that attaches every agent. */
const COMPANION = `
  import { Server, ServerCredentials } from '@grpc/grpc-js';
  import { DeregistrarService } from '${new URL('../../../../proto/gen/deregistrar/v1/deregistrar.ts', import.meta.url).href}';
  const server = new Server();
  const attached = { epoch: 1, fenced: true, leaving: false, grace: undefined, controlPlane: undefined, held: '' };
  server.addService(DeregistrarService, {
    attach: (call) => {
      call.on('error', () => undefined);
      call.once('data', () => call.write({ message: { $case: 'attached', value: attached } }));
    },
  });
  server.bindAsync('0.0.0.0:5690', ServerCredentials.createInsecure(), () => console.log('listening'));
`;

/** 2 s until the first probe and four of them, 1 s each. */
const IDLE_MS = 7_000;
/** 6 s without an acknowledgement, looked for every 2 s. */
const IN_FLIGHT_MS = 10_200;

describe('a host that falls silent', () => {
  let open: AsyncDisposableStack;
  let hosts: NetworkHosts;
  let host: NetworkHost;

  beforeEach((context) => {
    needNetworkNamespaces(context);
    open = new AsyncDisposableStack();
    hosts = open.use(new NetworkHosts());
    host = hosts.add();
  });

  afterEach(() => open.disposeAsync());

  async function run(script: string, ...argv: readonly string[]): Promise<ChildProcess> {
    const [program = '', ...prefix] = host.prefix;
    const node = [process.execPath, '--input-type=module', '--eval', script];
    const child = spawn(program, [...prefix, ...node, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    open.defer(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    return child;
  }

  async function attachAll(): Promise<TestServer> {
    const folder = open.use(new TemporaryDir());
    const certificate = new ServerCertificate(
      { ...makeCertificate(folder, 'server'), clientCaFile: undefined },
      { certificateReloaded: () => undefined, certificateBroken: () => undefined },
    );
    const world = open.use(
      await startTestServer({
        // All streams are of one subject here.
        limits: { authenticatedPerSubject: STREAMS },
        listeners: (service) => [
          { address: parseListenerAddress(`${hosts.address}:0`), certificate, services: [service] },
        ],
      }),
    );
    await run(AGENTS, world.server.addresses[0] ?? '', String(STREAMS));
    return world;
  }

  test('is missed on each of 40 idle connections by the kernel, and is dark', async () => {
    const world = await attachAll();
    await untilIdle(world);
    host.fallSilent();
    expect(await msUntilAllLost(world)).toBeLessThan(IDLE_MS);
    expect(new Set(world.losses)).toEqual(new Set(['dark']));
  });

  test('is missed on each of 40 connections with data in flight, and is dark', async () => {
    const world = await attachAll();
    host.fallSilent();
    world.say();
    expect(await msUntilAllLost(world)).toBeLessThan(IN_FLIGHT_MS);
    expect(new Set(world.losses)).toEqual(new Set(['dark']));
  });

  test('is missed as soon on each of 40 connections that are written to while the kernel probes them', async () => {
    const world = await attachAll();
    await untilIdle(world);
    host.fallSilent();
    const missed = msUntilAllLost(world);
    await new Promise((resolve) => {
      setTimeout(resolve, 5_200);
    });
    expect(world.losses).toEqual([]);
    world.say();
    expect(await missed).toBeLessThan(IN_FLIGHT_MS);
    expect(new Set(world.losses)).toEqual(new Set(['dark']));
  });

  test('and comes back within 4 s is not missed', async () => {
    const world = await attachAll();
    host.fallSilent();
    world.say();
    await new Promise((resolve) => {
      setTimeout(resolve, 3_500);
    });
    host.comeBack();
    await new Promise((resolve) => {
      setTimeout(resolve, 8_000);
    });
    expect(world.losses).toEqual([]);
  });

  test.for([
    { how: 'idle', isTalking: false, boundMs: IDLE_MS },
    { how: 'while the agent speaks', isTalking: true, boundMs: IN_FLIGHT_MS },
  ])('is missed by its agents as well, $how', async ({ isTalking, boundMs }) => {
    await run(COMPANION);
    const stream = await attachTo(plainEndpoint(`grpc://${host.address}:5690`, open));
    host.fallSilent();
    const beganMs = performance.now();
    if (isTalking) stream.tell({ phase: 'draining', serving: false });
    const ended: StreamEnd = await stream.ended;
    expect(performance.now() - beganMs).toBeLessThan(boundMs);
    expect(ended).toMatchObject({
      kind: 'lost',
      error: { code: 'ENDPOINT_UNREACHABLE' },
    });
  });
});

/** Everything that was sent is acknowledged. */
async function untilIdle({ server: { addresses } }: TestServer): Promise<void> {
  const port = Number(addresses[0]?.split(':').at(-1)).toString(16).toUpperCase().padStart(4, '0');
  await waitUntil(
    () =>
      readUnacknowledged(readFileSync('/proc/self/net/tcp', 'latin1')).every(
        ({ local }) => !local.endsWith(`:${port}`),
      ),
    { what: 'every connection to be idle' },
  );
}

async function msUntilAllLost(world: TestServer): Promise<number> {
  const beganMs = performance.now();
  await waitUntil(() => world.losses.length === STREAMS, { what: `the end of ${STREAMS} streams` });
  return performance.now() - beganMs;
}
