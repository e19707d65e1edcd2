import { describe, expect, test } from 'vitest';

import type { ControlPlanes } from '../../../../control-plane/ports.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { SIDELINED_LABEL } from '../../../../kuma/sidelined.ts';
import { Owner, Wish_State } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { incarnationOf, keyOf } from '../../../support/fakes/companion-scene.ts';
import { FakeWitnessZone, type WitnessHost } from '../../../support/fakes/witness-scene.ts';

const OWNERS = [
  { owner: Owner.CONTROL_PLANE, name: 'the control plane' },
  { owner: Owner.AGENT, name: 'the agent' },
  { owner: Owner.EXTERNAL, name: 'an operator' },
] as const;
/** The first part of the bound for a silent or killed host, and of the delay of the control plane's caches. */
const OUT_MS = 2_500;
const RELEASED_MS = 20_000;

/** A control plane that takes no writes. */
function withoutPuts(port: ControlPlanes, onPut = (): void => {}): ControlPlanes {
  return {
    look: (signal) => port.look(signal),
    overview: (...given) => port.overview(...given),
    overviews: (signal) => port.overviews(signal),
    read: (...given) => port.read(...given),
    hasSibling: (...given) => port.hasSibling(...given),
    delete: (...given) => port.delete(...given),
    close: () => {},
    put: () => {
      onPut();
      return Promise.reject(new OperationalError('ENDPOINT_BUSY', 'Cannot put: 503'));
    },
  };
}

/** Four hosts of one service that know each other. */
async function four(scene: FakeWitnessZone, owner: Owner = Owner.AGENT) {
  const hosts: WitnessHost[] = [];
  for (const name of ['web-1', 'web-2', 'web-3', 'web-4']) hosts.push(await scene.serve(name, { owner }));
  await scene.meet();
  const [lost, ...peers] = hosts;
  if (lost === undefined) throw new TypeError('There is no host');
  return { lost, peers };
}

/** One of four hosts is silent, and out. */
async function sidelined(scene: FakeWitnessZone, owner: Owner = Owner.AGENT) {
  const companion = scene.companion();
  const { lost, peers } = await four(scene, owner);
  scene.lose(lost, 'silent');
  await scene.clock.pass(OUT_MS);
  expect(scene.state('web-1')).toBe('NotReady');
  return { companion, lost, peers };
}

/** When the companion deletes the object of a killed host, and what it keeps of it. */
const deletedAtMs = async (isOn: boolean) => {
  await using scene = new FakeWitnessZone();
  scene.companion({ isOn });
  const { lost } = await four(scene);
  const lostMs = scene.clock.monotonicMs();
  scene.lose(lost, 'killed');
  await scene.clock.passUntil(() => scene.object('web-1') === undefined);
  const [body] = scene.database.tables.bodies.values();
  return { ms: scene.clock.monotonicMs() - lostMs, body: body?.resource, wasOut: scene.tookMs.length };
};

describe.for(OWNERS)('an object that belongs to $name', ({ owner }) => {
  test.for(['killed', 'silent'] as const)(
    'is out where the host is %s, and back when an agent serves',
    async (how) => {
      await using scene = new FakeWitnessZone();
      scene.companion();
      const { lost } = await four(scene, owner);
      scene.lose(lost, how);
      await scene.clock.pass(OUT_MS);
      expect(scene.state('web-1')).toBe('NotReady');
      expect(scene.state('web-2')).toBe('Ready');
      expect(scene.tookMs).toHaveLength(1);
      lost.found = 'reached';
      await scene.attach(lost, { owner });
      await scene.clock.pass(2_000);
      expect(scene.state('web-1')).toBe('Ready');
      await scene.clock.pass(RELEASED_MS);
      expect(scene.sidelining('web-1')?.stage).toBe('released');
      expect(scene.object('web-1')?.labels ?? {}).not.toHaveProperty(SIDELINED_LABEL);
    },
  );
});

test('switched off, a lost host stays in its peers’ lists until it is deleted', async () => {
  await using scene = new FakeWitnessZone();
  scene.companion({ isOn: false });
  const { lost } = await four(scene);
  scene.lose(lost, 'killed');
  await scene.clock.pass(14_000);
  expect(scene.state('web-1')).toBe('Ready');
  await scene.clock.pass(60_000);
  expect(scene.object('web-1')).toBeUndefined();
});

test('a companion that starts with --witness off puts back what was taken out', async () => {
  await using scene = new FakeWitnessZone();
  const companion = scene.companion();
  const { lost } = await four(scene, Owner.EXTERNAL);
  scene.lose(lost, 'killed');
  await scene.clock.pass(OUT_MS);
  expect(scene.state('web-1')).toBe('NotReady');
  await companion.stop();
  scene.companion({ isOn: false });
  await scene.clock.pass(3_000);
  expect(scene.state('web-1')).toBe('Ready');
});

describe('what stays in rotation', () => {
  test('an agent that was killed while its Envoy serves', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    const { lost } = await four(scene);
    lost.stream?.lose();
    await scene.clock.pass(120_000);
    expect(scene.state('web-1')).toBe('Ready');
    expect(scene.tookMs).toEqual([]);
  });

  test('a host that one of its peers reaches, and the companion does not', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    const { lost, peers } = await four(scene);
    lost.foundBy.set(peers[1]?.address ?? '', 'reached');
    scene.lose(lost, 'silent');
    await scene.clock.pass(10_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('a process that froze while its kernel answers', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    const { lost } = await four(scene);
    lost.found = 'silent';
    lost.cause = 'pinged-out';
    lost.stream?.lose();
    await scene.clock.pass(60_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('a host behind a firewall that no witness has ever crossed', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    await scene.serve('web-2', { owner: Owner.EXTERNAL });
    await scene.serve('web-3', { owner: Owner.EXTERNAL });
    const lost = await scene.serve('web-1', { owner: Owner.EXTERNAL });
    lost.found = 'refused';
    await scene.meet();
    scene.lose(lost, 'killed');
    await scene.clock.pass(14_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('a host whose peers run agents that do not look', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    for (const name of ['web-2', 'web-3']) await scene.serve(name, { looks: false, owner: Owner.EXTERNAL });
    const lost = await scene.serve('web-1', { looks: false, owner: Owner.EXTERNAL });
    await scene.meet();
    scene.lose(lost, 'killed');
    await scene.clock.pass(10_000);
    expect(scene.state('web-1')).toBe('Ready');
    expect([...scene.hosts.values()].map(({ looks }) => looks)).toEqual([0, 0, 0]);
  });

  test('a host whose witnesses are all unable, late, or answer another question', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    const { lost, peers } = await four(scene);
    const [a, b, c] = peers;
    if (a === undefined || b === undefined || c === undefined) throw new TypeError('There are three peers');
    a.answer = () => undefined;
    b.answer = ({ targets }) => targets.map(() => 'unable');
    c.answer = () => ['refused', 'refused', 'refused'];
    scene.lose(lost, 'killed');
    await scene.clock.pass(14_000);
    expect(scene.state('web-1')).toBe('Ready');
    expect(scene.answers).toEqual(expect.arrayContaining(['late', 'unable', 'unasked']));
  });

  test('the last ready one of its service', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    await scene.serve('api-1', { service: 'api' });
    await scene.serve('api-2', { service: 'api' });
    await scene.serve('api-3', { service: 'api' });
    const lost = await scene.serve('web-1', { owner: Owner.EXTERNAL });
    await scene.meet();
    scene.lose(lost, 'killed');
    await scene.clock.pass(14_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('everything, if the companion is cut off from its agents', async () => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    const { lost, peers } = await four(scene);
    for (const host of [lost, ...peers]) {
      host.cause = 'dark';
      host.foundBy.set('companion', 'silent');
      host.stream?.lose();
    }
    await scene.clock.pass(60_000);
    for (const name of ['web-1', 'web-2', 'web-3', 'web-4']) expect(scene.state(name)).toBe('Ready');
  });
});

describe('a mesh of two hosts', () => {
  test.for([
    { reaches: true, state: 'NotReady' },
    { reaches: false, state: 'Ready' },
  ])('one is lost, the companion has reached it before: $reaches', async ({ reaches, state }) => {
    await using scene = new FakeWitnessZone();
    scene.companion();
    await scene.serve('web-1', { owner: Owner.EXTERNAL });
    const lost = await scene.serve('web-2', { owner: Owner.EXTERNAL });
    if (!reaches) lost.foundBy.set('companion', 'silent');
    await scene.meet();
    lost.foundBy.clear();
    scene.lose(lost, 'killed');
    await scene.clock.pass(10_000);
    expect(scene.state('web-2')).toBe(state);
  });
});

test('of a mesh of two hosts, both stay where the companion is cut off from both', async () => {
  await using scene = new FakeWitnessZone();
  scene.companion();
  const hosts = [
    await scene.serve('web-1', { owner: Owner.EXTERNAL }),
    await scene.serve('web-2', { owner: Owner.EXTERNAL }),
  ];
  await scene.meet();
  for (const host of hosts) {
    host.cause = 'dark';
    host.foundBy.set('companion', 'silent');
    host.stream?.lose();
  }
  await scene.clock.pass(30_000);
  expect(hosts.map(({ name }) => scene.state(name))).toEqual(['Ready', 'Ready']);
});

describe('a sidelined dataplane', () => {
  test('is back where two rounds reach it while its control plane shows its stream online', async () => {
    await using scene = new FakeWitnessZone();
    const { lost } = await sidelined(scene);
    lost.found = 'reached';
    await scene.clock.pass(6_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('stays out where another host answers at its address', async () => {
    await using scene = new FakeWitnessZone();
    const { lost } = await sidelined(scene);
    scene.endXds(lost);
    lost.found = 'reached';
    await scene.clock.pass(10_000);
    expect(scene.state('web-1')).toBe('NotReady');
  });

  test('is deleted when it would have been without witnesses, and its body bears no mark', async () => {
    const [on, off] = [await deletedAtMs(true), await deletedAtMs(false)];
    expect([on.wasOut, off.wasOut]).toEqual([1, 0]);
    expect(on.body).not.toContain(SIDELINED_LABEL);
    expect(on.body).toContain('"Ready"');
    expect(on.body).not.toContain('NotReady');
    expect(Math.abs(on.ms - off.ms)).toBeLessThan(1_500);
  });

  test('is released when its object is gone', async () => {
    await using scene = new FakeWitnessZone();
    const { lost } = await sidelined(scene);
    scene.endXds(lost);
    await scene.clock.pass(120_000);
    expect(scene.object('web-1')).toBeUndefined();
    expect(scene.sidelining('web-1')?.stage ?? 'released').toBe('released');
  });

  test('is sidelined once for one loss', async () => {
    await using scene = new FakeWitnessZone();
    const { companion, lost } = await sidelined(scene);
    await companion.engine.witnesses.sidelinings.restore(keyOf('web-1'));
    await scene.clock.pass(RELEASED_MS);
    expect(scene.state('web-1')).toBe('Ready');
    expect(lost.found).toBe('silent');
    await scene.clock.pass(20_000);
    expect(scene.state('web-1')).toBe('Ready');
    expect(scene.tookMs).toHaveLength(1);
  });

  test('goes back with all others before a companion is removed, and nothing goes out for a minute', async () => {
    await using scene = new FakeWitnessZone();
    const { companion, peers } = await sidelined(scene);
    const undone = companion.undo({ dataplane: undefined, allSidelined: true });
    await scene.clock.pass(2_000);
    expect(await undone).toMatchObject({ restored: [{ name: 'web-1' }], unrestored: [] });
    expect(scene.state('web-1')).toBe('Ready');
    const [next] = peers;
    if (next === undefined) throw new TypeError('There is no peer');
    scene.lose(next, 'silent');
    await scene.clock.pass(10_000);
    expect(scene.state(next.name)).toBe('Ready');
    expect(scene.tookMs).toHaveLength(1);
  });

  test('is named where the control plane does not take it back', async () => {
    await using scene = new FakeWitnessZone({}, 'postgres');
    const { companion } = await sidelined(scene);
    await companion.stop();
    const refusing = scene.companion({ controlPlanes: (port) => withoutPuts(port) });
    const undone = refusing.undo({ dataplane: undefined, allSidelined: true });
    await scene.clock.pass(15_000);
    expect(await undone).toMatchObject({ restored: [], unrestored: [{ name: 'web-1' }] });
  });

  test('whose mark an operator removed stays as the operator left it', async () => {
    await using scene = new FakeWitnessZone();
    const { lost } = await sidelined(scene);
    const object = scene.object('web-1');
    if (object === undefined) throw new TypeError('There is an object');
    const { [SIDELINED_LABEL]: _, ...labels } = object.labels ?? {};
    scene.zone.put(keyOf('web-1'), { ...object, labels }, scene.plane);
    await scene.clock.pass(40_000);
    lost.found = 'reached';
    await scene.attach(lost, { owner: Owner.EXTERNAL });
    await scene.clock.pass(RELEASED_MS);
    expect(scene.state('web-1')).toBe('NotReady');
    expect(scene.sidelining('web-1')?.stage).toBe('released');
  });

  test('is put back where a late write lands after its return', async () => {
    await using scene = new FakeWitnessZone();
    const { lost } = await sidelined(scene);
    const late = scene.object('web-1');
    if (late === undefined) throw new TypeError('There is an object');
    lost.found = 'reached';
    await scene.attach(lost, { owner: Owner.AGENT });
    await scene.clock.pass(4_000);
    expect(scene.state('web-1')).toBe('Ready');
    scene.zone.put(keyOf('web-1'), late, scene.plane);
    await scene.clock.pass(4_000);
    expect(scene.state('web-1')).toBe('Ready');
  });

  test('that its agent drains at once goes back to Ready by the resume', async () => {
    await using scene = new FakeWitnessZone();
    const { companion, lost } = await sidelined(scene);
    lost.found = 'reached';
    const resource = Buffer.from(JSON.stringify(lost.resource));
    const incarnation = { ...incarnationOf('web-1', 'a'), address: lost.address };
    const ask = (state: Wish_State, states: Record<string, string>) =>
      companion.register({
        incarnation,
        resource,
        ready: true,
        rotation: undefined,
        wish: { state, takeOver: false, states, leaveProbed: false },
      });
    const stream = scene.attach(lost, { owner: Owner.AGENT });
    await stream;
    const seen = await ask(Wish_State.OUT, {});
    expect(Object.values(seen.states)).toEqual(['Ready']);
    await ask(Wish_State.OUT, seen.states);
    await scene.clock.pass(RELEASED_MS);
    expect(scene.state('web-1')).toBe('NotReady');
    expect(scene.object('web-1')?.labels ?? {}).not.toHaveProperty(SIDELINED_LABEL);
    await ask(Wish_State.READY, seen.states);
    expect(scene.state('web-1')).toBe('Ready');
  });
});

test('a write that is refused is tried again, and an agent that returns meanwhile wins', async () => {
  await using scene = new FakeWitnessZone();
  let refused = 0;
  scene.companion({
    controlPlanes: (port) =>
      withoutPuts(port, () => {
        refused += 1;
      }),
  });
  const { lost } = await four(scene);
  scene.lose(lost, 'killed');
  await scene.clock.pass(6_000);
  expect(refused).toBeGreaterThan(1);
  lost.found = 'reached';
  await scene.attach(lost, { owner: Owner.AGENT });
  await scene.clock.pass(RELEASED_MS);
  expect(scene.state('web-1')).toBe('Ready');
  expect(scene.sidelining('web-1')?.stage).toBe('released');
});

test('what one replica decided, another one carries out and puts back', async () => {
  await using scene = new FakeWitnessZone({}, 'postgres');
  const first = scene.companion({ controlPlanes: (port) => withoutPuts(port) });
  await scene.clock.pass(10_000);
  const { lost } = await four(scene);
  scene.lose(lost, 'killed');
  await scene.clock.passUntil(() => scene.sidelining('web-1') !== undefined, 5_000);
  await first.stop();
  const second = scene.companion();
  await scene.clock.pass(3_000);
  expect(scene.state('web-1')).toBe('NotReady');
  lost.found = 'reached';
  await scene.attach(lost, { owner: Owner.AGENT, companion: second });
  await scene.clock.pass(3_000);
  expect(scene.state('web-1')).toBe('Ready');
});
