import { Client, credentials } from '@grpc/grpc-js';
import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { SIDELINED_LABEL } from '../../../kuma/sidelined.ts';
import { Owner } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from '../../support/attached-client.ts';
import { answer, LoopbackHost, PORT } from '../../support/loopback-host.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let world: CompanionWorld;
const hosts: LoopbackHost[] = [];

beforeAll(async () => {
  world = await CompanionWorld.start({
    companion: { grace: '60s', argv: ['--witness-networks', '127.0.0.0/8'] },
  });
});

afterAll(async () => {
  for (const host of hosts) await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

function resourceOf(name: string, address: string) {
  const inbound = [{ port: PORT, state: 'Ready', tags: { 'kuma.io/service': 'web' } }];
  return { type: 'Dataplane', mesh: 'default', name, networking: { address, inbound } };
}

/** An agent that looks as real ones do, on a host of its own. */
async function start(name: string, host: LoopbackHost, incarnation = randomUUID()): Promise<AttachedClient> {
  const resource = resourceOf(name, host.address);
  const agent = world.agent(name, {
    address: await host.way(world.companion.address),
    incarnation,
    resource,
    hello: { owner: Owner.AGENT, looks: true, phase: 'running' },
  });
  agent.onLook = (look) => void answer(agent, look);
  await agent.attach();
  await agent.register(true, resource);
  world.connect(name);
  agent.phase('running', true);
  return agent;
}

const stateOf = (name: string): unknown => {
  const networking = world.find(name)?.spec['networking'] as {
    readonly inbound: readonly { state?: string }[];
  };
  return networking.inbound[0]?.state ?? 'Ready';
};

test('a host that is killed is out of rotation although its stream at the control plane looks alive, and back when its agent is', async () => {
  const incarnation = randomUUID();
  for (const [at, name] of ['web-1', 'web-2', 'web-3', 'web-4'].entries()) {
    const host = new LoopbackHost(`127.0.77.${at + 1}`);
    hosts.push(host);
    await host.serve();
    await start(name, host, at === 0 ? incarnation : undefined);
  }
  await waitUntil(async () => (await world.metric('testimonies_total{result="reached"}')) >= 9, {
    what: 'every dataplane to have three acquaintances',
  });
  const [lost] = hosts;
  lost?.kill();
  await waitUntil(() => stateOf('web-1') === 'NotReady', { what: 'the lost host to be out of rotation' });
  expect(['web-2', 'web-3', 'web-4'].map(stateOf)).toEqual(['Ready', 'Ready', 'Ready']);
  expect(await world.metric('sidelined')).toBe(1);
  const again = new LoopbackHost('127.0.77.1');
  hosts.push(again);
  await again.serve();
  await start('web-1', again, incarnation);
  await waitUntil(() => stateOf('web-1') === 'Ready', { what: 'the host to be back' });
  await waitUntil(async () => (await world.metric('sidelined')) === 0, { what: 'the record to be released' });
});

test('before a companion is removed, it puts back what is out of rotation, although the host stays lost', async () => {
  expect((await world.command('undo', '--all', 'default/web-1')).code).toBe(78);
  hosts.find(({ address }) => address.endsWith('.2'))?.kill();
  await waitUntil(() => stateOf('web-2') === 'NotReady', { what: 'the lost host to be out of rotation' });
  const { code, stdout } = await world.command('undo', '--all');
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'default/web-2: back in rotation.\n' });
  expect(world.find('web-2')?.labels).not.toHaveProperty(SIDELINED_LABEL);
  expect(['web-1', 'web-2', 'web-3', 'web-4'].map(stateOf)).toEqual(['Ready', 'Ready', 'Ready', 'Ready']);
  expect(await world.command('undo', '--all')).toMatchObject({
    code: 0,
    stdout: 'Nothing is out of rotation.\n',
  });
});

/** A Hello and the PhaseChanged that follows it, as agents of 0.1.0 write them: `old-1` of mesh default at 10.0.0.1. */
const OLD_HELLO =
  'CvABCkIKEAoHZGVmYXVsdBIFb2xkLTESJDJmMWY0YjFlLTVmNmUtNGMyYS05ZDUzLTBhNGIxYzJkM2U0ZhoIMTAuMC4wLjEQAhgBIpQBeyJ0eXBlIjoiRGF0YXBsYW5lIiwibWVzaCI6ImRlZmF1bHQiLCJuYW1lIjoib2xkLTEiLCJuZXR3b3JraW5nIjp7ImFkZHJlc3MiOiIxMC4wLjAuMSIsImluYm91bmQiOlt7InBvcnQiOjE4MDgwLCJ0YWdzIjp7Imt1bWEuaW8vc2VydmljZSI6IndlYiJ9fV19fSoIc3RhcnRpbmcyBTAuMS4w';
const OLD_SERVING = 'EgsKB3J1bm5pbmcQAQ==';

test('an agent of 0.1.0 attaches, and gets no unknown message while others are asked', async () => {
  const heard: Buffer[] = [];
  const client = new Client(world.companion.address, credentials.createInsecure());
  const call = client.makeBidiStreamRequest('/deregistrar.v1.Deregistrar/Attach', asIs, asIs);
  call.on('data', (bytes: Buffer) => heard.push(bytes));
  call.on('error', () => undefined);
  for (const frame of [OLD_HELLO, OLD_SERVING]) call.write(Buffer.from(frame, 'base64'));
  await waitUntil(() => heard.length > 0, { what: 'the old agent to be attached' });
  const askedBefore = await world.metric('testimonies_total{result="refused"}');
  hosts.find(({ address }) => address.endsWith('.3'))?.kill();
  await waitUntil(async () => (await world.metric('testimonies_total{result="refused"}')) > askedBefore, {
    what: 'others to be asked',
  });
  // Field 1: attached. Field 2: redirected. 0.1.0 knows no other.
  expect(heard.map(([tag = 0]) => tag >> 3).filter((field) => field > 2)).toEqual([]);
  const { dataplanes } = await world.status();
  expect(dataplanes.find(({ dataplane }) => dataplane?.name === 'old-1')).toMatchObject({
    state: 'attached',
    phase: 'running',
  });
  call.cancel();
  client.close();
});

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
