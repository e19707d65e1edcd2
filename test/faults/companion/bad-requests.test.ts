import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  DeregisterResponse_Outcome as Outcome,
  Owner,
  type Hello,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from '../../support/attached-client.ts';
import { CompanionWorld, dataplane } from '../../support/companion-world.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const UUID = 'a8098c1a-f86e-11da-bd1a-00112444be1e';
const MEGABYTE = 'x'.repeat(1_000_000);

describe('a bad request', () => {
  let world: CompanionWorld;
  let served: AttachedClient;

  beforeAll(async () => {
    world = await CompanionWorld.start();
    served = await world.running('served');
  });

  afterAll(async () => {
    expect(world.companion.seen('deregistrar.failed')).toEqual([]);
    expect(await world.row('served')).toMatchObject({ state: 'attached' });
    expect(await served.deregister()).toMatchObject({ outcome: Outcome.DELETED });
    await world[Symbol.asyncDispose]();
  });

  function incarnation(mesh: string, name: string, id = UUID): Pick<Hello, 'incarnation'> {
    return { incarnation: { dataplane: { mesh, name }, id, address: '' } };
  }

  const NAMES: readonly (readonly [string, string, string])[] = [
    ['an empty name', 'default', ''],
    ['an empty mesh', '', 'web-1'],
    ['a path', 'default', '../../secrets/admin'],
    ['a query', 'default', 'web-1?x=1'],
    ['an escape', 'default', 'web%2f1'],
    ['a line break', 'default', 'web\n1'],
    ['capital letters', 'default', 'Web-1'],
    ['another script', 'default', 'wéb'],
    ['254 letters', 'default', 'x'.repeat(254)],
    ['a mesh of 64 letters', 'x'.repeat(64), 'web-1'],
    ['an SQL quote', "default'--", 'web-1'],
  ];

  test.for(NAMES)('every kind of request refuses the name %s', async ([, mesh, name]) => {
    const words =
      /^INVALID_ARGUMENT: Cannot read the request: (name|mesh) is not the name of a (dataplane|mesh)$/;
    using agent = world.agent(name, { mesh, resource: dataplane(name) });
    await expect(agent.attach()).rejects.toThrow(words);
    await expect(agent.register(false)).rejects.toThrow(words);
    await expect(agent.deregister()).rejects.toThrow(words);
    await expect(agent.confirm()).rejects.toThrow(words);
  });

  const HELLOS: readonly (readonly [string, Partial<Hello>, RegExp])[] = [
    ['no incarnation at all', { incarnation: undefined }, /mesh is not/],
    ['no dataplane', { incarnation: { dataplane: undefined, id: UUID, address: '' } }, /mesh is not/],
    ['an incarnation that is none', incarnation('default', 'web-1', 'a b'), /not a UUID/],
    ['an unknown owner', { owner: 99 as Owner }, /unknown owner/],
    ['no owner', { owner: Owner.UNSPECIFIED }, /unknown owner/],
    ['a phase that is no word', { phase: 'RUNNING\n{"event":"forged"}' }, /invalid phase/],
    ['a resource that is no JSON', { resource: Buffer.from('{') }, /is not a Dataplane/],
    ['a resource that is no text', { resource: Buffer.from([0xff, 0xfe, 0x00]) }, /is not a Dataplane/],
    ['the resource of another name', { resource: encode(dataplane('web-2')) }, /is of another dataplane/],
    ['another type', { resource: encode({ ...dataplane('served'), type: 'ZoneIngress' }) }, /of another/],
    ['an address that is none', { incarnation: { ...keyOf('served'), address: 'a b' } }, /invalid address/],
    ['a resource of 200 KB', { resource: encode({ ...dataplane('served'), x: 'x'.repeat(2e5) }) }, /larger/],
  ];

  test.for(HELLOS)('the companion refuses a Hello with %s, with the reason', async ([, change, words]) => {
    using agent = world.agent('served', { hello: change });
    await expect(agent.attach()).rejects.toThrow(words);
    await expect(agent.ended).resolves.toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('the limit cuts off a message of a megabyte, in every field', async () => {
    const tooLong: readonly Partial<Hello>[] = [
      incarnation(MEGABYTE, 'web-1'),
      incarnation('default', MEGABYTE),
      incarnation('default', 'web-1', MEGABYTE),
      { resource: Buffer.from(MEGABYTE) },
      { phase: MEGABYTE },
      { agentVersion: MEGABYTE },
    ];
    for (const change of tooLong) {
      using agent = world.agent('served', { hello: change });
      await expect(agent.attach()).rejects.toThrow(/^RESOURCE_EXHAUSTED: /);
    }
  });

  test('the companion ends a stream without a Hello at its start, or with two', async () => {
    using phaseFirst = world.agent('web-1');
    phaseFirst.open();
    phaseFirst.phase('running');
    await expect(phaseFirst.ended).resolves.toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'Cannot read the request: it must begin with one Hello',
    });
    using twice = await world.running('greets-twice');
    twice.say({ $case: 'hello', value: twice.hello });
    await expect(twice.ended).resolves.toMatchObject({ code: status.INVALID_ARGUMENT });
    using nothing = world.agent('web-1');
    nothing.open();
    nothing.say(undefined);
    await expect(nothing.ended).resolves.toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('an invalid phase ends the stream, and counts as a loss', async () => {
    using agent = await world.running('odd-phase');
    agent.phase('x'.repeat(33));
    await expect(agent.ended).resolves.toMatchObject({ code: status.INVALID_ARGUMENT });
    await world.waitForRow('odd-phase', { state: 'lost' });
  });

  test('the companion does not log an invalid stop report', async () => {
    using agent = await world.running('reporter');
    agent.say({
      $case: 'stopped',
      value: { report: '{"forged":"\n{\\"event\\":\\"deregistrar.stopped\\"}', keep: false },
    });
    agent.say({ $case: 'stopped', value: { report: 'x'.repeat(20_000), keep: false } });
    await world.companion.waitForEvent('agent.reported', { count: 2 });
    expect(world.companion.seen('agent.reported').map(({ report }) => report)).toEqual([
      'left out: not JSON',
      'left out: too long',
    ]);
  });

  test('the companion refuses more streams of one name than an agent needs', async () => {
    const agents = Array.from({ length: 8 }, () => world.agent('crowd', { incarnation: UUID }));
    const settled = await Promise.allSettled(agents.map((agent) => agent.attach()));
    const refused = settled.filter((one) => one.status === 'rejected').map(({ reason }) => String(reason));
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(refused)).toEqual(
      new Set([
        'Error: RESOURCE_EXHAUSTED: Cannot serve the call: over the limit of streams of one token for one dataplane',
      ]),
    );
    expect(await world.row('crowd')).toMatchObject({ state: 'attached' });
  });
});

test.concurrent('thousands of silent connections keep no caller out for long', async () => {
  await using world = await CompanionWorld.start();
  const served = await world.running('served');
  const [host = '', port = ''] = world.companion.address.split(':');
  const sockets: Socket[] = [];
  for (let batch = 0; batch < 15; batch += 1) {
    const opened = Array.from({ length: 200 }, () => connect({ host, port: Number(port) }));
    for (const socket of opened) socket.on('error', () => {}).resume();
    sockets.push(...opened);
    await Promise.all(opened.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])));
  }
  // Half of an HTTP/2 greeting, and no more.
  for (const socket of sockets) if (!socket.destroyed) socket.write('PRI * HTTP/2.0\r\n');
  served.phase('draining');
  await world.waitForRow('served', { phase: 'draining' });
  served.phase('running', true);
  using newcomer = world.agent('newcomer');
  expect((await newcomer.attach()).fenced).toBe(true);
  await waitUntil(() => sockets.every((socket) => socket.destroyed), {
    what: 'the silent ones to be cut',
    budgetMs: 40_000,
  });
  expect(
    await world.metric('connections_refused_total{limit="unauthenticated-per-address"}'),
  ).toBeGreaterThan(2_000);
  expect(await world.metric('connections{state="unauthenticated"}')).toBeLessThan(64);
});

test.concurrent('the companion ends the stream of an agent that sends nothing, with the reason', async () => {
  await using world = await CompanionWorld.start();
  using authenticated = await world.running('authenticated');
  // A second stream on a connection that is known.
  const silent = authenticated.client.attach(authenticated.metadata);
  const [error] = (await once(silent, 'error')) as [{ readonly code: status; readonly details: string }];
  expect(error).toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: 'Cannot read the request: the first message is missing',
  });
  expect(await world.row('authenticated')).toMatchObject({ state: 'attached' });
});

test.concurrent('the companion notices a frozen process by its ping, although the connection is open', async () => {
  await using world = await CompanionWorld.start();
  await using proxy = await FaultProxy.start(`http://${world.companion.address}`);
  await world.running('silent', { address: `127.0.0.1:${proxy.port}` });
  const silentAtMs = performance.now();
  await proxy.become({ kind: 'silence' });
  await world.companion.waitForEvent('agent.lost');
  expect(performance.now() - silentAtMs).toBeLessThan(16_000);
  await world.waitForRow('silent', { state: 'lost', guard: 'subscription-online' });
});

function keyOf(name: string): {
  readonly dataplane: { readonly mesh: string; readonly name: string };
  readonly id: string;
} {
  return { dataplane: { mesh: 'default', name }, id: UUID };
}

function encode(body: unknown): Buffer {
  return Buffer.from(JSON.stringify(body));
}
