import { Client, credentials } from '@grpc/grpc-js';
import { randomUUID } from 'node:crypto';

import { expect, test } from 'vitest';

import { SIDELINED_LABEL } from '../../../kuma/sidelined.ts';
import { Owner } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { AttachedClient } from '../../support/attached-client.ts';
import { answer, LoopbackHost, PORT } from '../../support/loopback-host.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** A search that found too few witnesses is tried again after 2, 4, 8 and 16 s. */
const SEARCH_MS = 45_000;
const TEST = { timeout: 150_000 };
const NAMES = ['web-1', 'web-2', 'web-3', 'web-4'];

/** Four dataplanes whose agents look, each on a host of its own, and a companion that knows who reaches whom. */
class WitnessWorld implements AsyncDisposable {
  static #networks = 77;
  readonly zone: CompanionWorld;
  readonly agents = new Map<string, AttachedClient>();
  readonly #network = `127.0.${WitnessWorld.#networks++}`;
  readonly #hosts = new Map<string, LoopbackHost>();

  private constructor(zone: CompanionWorld) {
    this.zone = zone;
  }

  static async start(): Promise<WitnessWorld> {
    const zone = await CompanionWorld.start({
      companion: { grace: '60s', argv: ['--witness-networks', '127.0.0.0/8'] },
    });
    await using opening = new AsyncDisposableStack();
    const world = opening.use(new WitnessWorld(zone));
    await Promise.all(NAMES.map((name) => world.attach(name, randomUUID())));
    // All at once: a search in which others are still missing is not tried again soon.
    for (const agent of world.agents.values()) agent.phase('running', true);
    await waitUntil(async () => (await world.zone.metric('testimonies_total{result="reached"}')) >= 12, {
      what: 'every dataplane to have three acquaintances',
      budgetMs: SEARCH_MS,
    });
    opening.move();
    return world;
  }

  /** An agent that looks as real ones do. */
  async attach(name: string, incarnation: string): Promise<AttachedClient> {
    const { zone } = this;
    const host = new LoopbackHost(`${this.#network}.${name.at(-1)}`);
    this.#hosts.set(name, host);
    await host.serve();
    const resource = resourceOf(name, host.address);
    const agent = zone.agent(name, {
      address: await host.way(zone.companion.address),
      incarnation,
      resource,
      hello: { owner: Owner.AGENT, looks: true, phase: 'running' },
    });
    this.agents.set(name, agent);
    agent.onLook = (look) => void answer(agent, look);
    await agent.attach();
    await agent.register(true, resource);
    zone.connect(name);
    return agent;
  }

  async kill(name: string): Promise<void> {
    await this.#hosts.get(name)?.kill();
  }

  stateOf(name: string): unknown {
    const networking = this.zone.find(name)?.spec['networking'] as {
      readonly inbound: readonly { state?: string }[];
    };
    return networking.inbound[0]?.state ?? 'Ready';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.#hosts.values()) await host.kill();
    await this.zone[Symbol.asyncDispose]();
  }
}

function resourceOf(name: string, address: string) {
  const inbound = [{ port: PORT, state: 'Ready', tags: { 'kuma.io/service': 'web' } }];
  return { type: 'Dataplane', mesh: 'default', name, networking: { address, inbound } };
}

test.concurrent(
  'a host that is killed is out of rotation although its stream at the control plane looks alive, and back when its agent is',
  TEST,
  async () => {
    await using world = await WitnessWorld.start();
    const { zone, agents } = world;
    await world.kill('web-1');
    await waitUntil(() => world.stateOf('web-1') === 'NotReady', {
      what: 'the lost host to be out of rotation',
    });
    expect(['web-2', 'web-3', 'web-4'].map((name) => world.stateOf(name))).toEqual([
      'Ready',
      'Ready',
      'Ready',
    ]);
    expect(await zone.metric('sidelined')).toBe(1);
    const back = await world.attach('web-1', agents.get('web-1')?.incarnation.id ?? '');
    back.phase('running', true);
    await waitUntil(() => world.stateOf('web-1') === 'Ready', { what: 'the host to be back' });
    await waitUntil(async () => (await zone.metric('sidelined')) === 0, {
      what: 'the record to be released',
    });
  },
);

test.concurrent(
  'before its removal a companion puts back what is out of rotation, although the host stays lost',
  TEST,
  async () => {
    await using world = await WitnessWorld.start();
    const { zone } = world;
    expect((await zone.command('undo', '--all', 'default/web-1')).code).toBe(78);
    await world.kill('web-2');
    await waitUntil(() => world.stateOf('web-2') === 'NotReady', {
      what: 'the lost host to be out of rotation',
    });
    const { code, stdout } = await zone.command('undo', '--all');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'default/web-2: back in rotation.\n' });
    expect(zone.find('web-2')?.labels).not.toHaveProperty(SIDELINED_LABEL);
    expect(NAMES.map((name) => world.stateOf(name))).toEqual(['Ready', 'Ready', 'Ready', 'Ready']);
    expect(await zone.command('undo', '--all')).toMatchObject({
      code: 0,
      stdout: 'Nothing is out of rotation.\n',
    });
  },
);

/** A Hello and the PhaseChanged that follows it, as agents of 0.1.0 write them: `old-1` of mesh default at 10.0.0.1. */
const OLD_HELLO =
  'CvABCkIKEAoHZGVmYXVsdBIFb2xkLTESJDJmMWY0YjFlLTVmNmUtNGMyYS05ZDUzLTBhNGIxYzJkM2U0ZhoIMTAuMC4wLjEQAhgBIpQBeyJ0eXBlIjoiRGF0YXBsYW5lIiwibWVzaCI6ImRlZmF1bHQiLCJuYW1lIjoib2xkLTEiLCJuZXR3b3JraW5nIjp7ImFkZHJlc3MiOiIxMC4wLjAuMSIsImluYm91bmQiOlt7InBvcnQiOjE4MDgwLCJ0YWdzIjp7Imt1bWEuaW8vc2VydmljZSI6IndlYiJ9fV19fSoIc3RhcnRpbmcyBTAuMS4w';
const OLD_SERVING = 'EgsKB3J1bm5pbmcQAQ==';

test.concurrent(
  'an agent of 0.1.0 attaches, and gets no unknown message while others are asked',
  TEST,
  async () => {
    await using world = await WitnessWorld.start();
    const { zone } = world;
    const heard: Buffer[] = [];
    const client = new Client(zone.companion.address, credentials.createInsecure());
    const call = client.makeBidiStreamRequest('/deregistrar.v1.Deregistrar/Attach', asIs, asIs);
    call.on('data', (bytes: Buffer) => heard.push(bytes));
    call.on('error', () => undefined);
    for (const frame of [OLD_HELLO, OLD_SERVING]) call.write(Buffer.from(frame, 'base64'));
    await waitUntil(() => heard.length > 0, { what: 'the old agent to be attached' });
    const askedBefore = await zone.metric('testimonies_total{result="refused"}');
    await world.kill('web-3');
    await waitUntil(async () => (await zone.metric('testimonies_total{result="refused"}')) > askedBefore, {
      what: 'others to be asked',
    });
    // Field 1: attached. Field 2: redirected. 0.1.0 knows no other.
    expect(heard.map(([tag = 0]) => tag >> 3).filter((field) => field > 2)).toEqual([]);
    const { dataplanes } = await zone.status();
    expect(dataplanes.find(({ dataplane }) => dataplane?.name === 'old-1')).toMatchObject({
      state: 'attached',
      phase: 'running',
    });
    call.cancel();
    client.close();
  },
);

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
