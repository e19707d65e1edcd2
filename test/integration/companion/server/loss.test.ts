import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';

import { describe, expect, test } from 'vitest';

import { ServerCertificate } from '../../../../program/server-certificate.ts';
import { parseListenerAddress } from '../../../../kernel/listener-address.ts';
import { TemporaryDir } from '../../../support/world/temporary-dir.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import { HELLO, makeCertificate, startTestServer, token, type TestServer } from './server-world.ts';

/** Opens one stream and prints a line when it is open. */
const AGENT = `
  import { Client, credentials, Metadata } from '@grpc/grpc-js';
  const [address, secured] = process.argv.slice(1);
  const unchecked = credentials.createSsl(null, null, null, { rejectUnauthorized: false });
  const client = new Client(address, secured === 'tls' ? unchecked : credentials.createInsecure());
  const asIs = (bytes) => bytes;
  const call = client.makeBidiStreamRequest('/deregistrar.v1.Deregistrar/Attach', asIs, asIs);
  call.on('error', () => undefined);
  call.on('data', () => console.log('attached'));
  call.write(Buffer.from([0x12, 0x00]));
`;

describe.for(['plain', 'tls'] as const)('the companion learns why a stream ended (%s)', (transport) => {
  test.for([
    { how: 'its process is killed', signal: 'SIGKILL', cause: 'closed' },
    { how: 'its process freezes, and its kernel answers', signal: 'SIGSTOP', cause: 'pinged-out' },
  ] as const)('$how: $cause', async ({ signal, cause }) => {
    using folder = new TemporaryDir();
    await using world = await startServer(folder, transport);
    const agent = await attach(world, transport);
    agent.kill(signal);
    await waitUntil(() => world.losses.length > 0, { what: 'the end of the stream' });
    agent.kill('SIGKILL');
    expect(world.losses).toEqual([cause]);
  });
});

test('an agent that ends its stream alone has closed it', async () => {
  await using world = await startTestServer();
  const call = world.client().attach(token());
  call.on('error', () => undefined);
  call.write(HELLO);
  await once(call, 'data');
  call.cancel();
  await waitUntil(() => world.losses.length > 0, { what: 'the end of the stream' });
  expect(world.losses).toEqual(['closed']);
});

function startServer(folder: TemporaryDir, transport: 'plain' | 'tls'): Promise<TestServer> {
  const certificate =
    transport === 'plain'
      ? undefined
      : new ServerCertificate(
          { ...makeCertificate(folder, 'server'), clientCaFile: undefined },
          {
            certificateReloaded: () => undefined,
            certificateBroken: () => undefined,
          },
        );
  return startTestServer({
    limits: { pingMs: 500, pingTimeoutMs: 500 },
    listeners: (service) => [
      { address: parseListenerAddress('127.0.0.1:0'), certificate, services: [service] },
    ],
  });
}

async function attach(world: TestServer, transport: string): Promise<Pick<ChildProcess, 'kill'>> {
  const [address = ''] = world.server.addresses;
  const argv = ['--input-type=module', '--eval', AGENT, address, transport];
  const agent = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(agent.stdout, 'data');
  return agent;
}
