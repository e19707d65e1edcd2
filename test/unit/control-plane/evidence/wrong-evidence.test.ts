import { afterEach, describe, expect, test } from 'vitest';

import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { Store } from '../../../../control-plane/ports.ts';
import { CompanionScene, incarnationOf, keyOf, resourceOf } from '../../../support/fakes/companion-scene.ts';
import { FakeControlPlanes } from '../../../support/fakes/fake-control-planes.ts';
import { FakeZone, type FakePlane } from '../../../support/fakes/fake-zone.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

const MINUTE_MS = 60_000;
/** Envoy's longest backoff, nearly. */
const RECONNECTS_MS = 25_000;
const NAMES = Array.from({ length: 12 }, (_, at) => `web-${at}`);

let scene: CompanionScene;

afterEach(async () => {
  for (const { log } of scene.companions) expect(log.events).not.toContain('deregistrar.failed');
  await scene[Symbol.asyncDispose]();
});

function standing(): readonly string[] {
  return NAMES.filter((name) => scene.object(name) !== undefined);
}

function connect(plane: FakePlane, names: readonly string[]): void {
  for (const name of names) plane.open(keyOf(name), resourceOf(name, { service: `service-of-${name}` }));
}

/** The companion names the first plane only; half of the dataplanes, which have no agents, are connected to the second. */
async function twoPlanes(): Promise<FakePlane> {
  scene = new CompanionScene();
  const other = scene.zone.addPlane();
  connect(scene.plane, NAMES.slice(0, 6));
  connect(other, NAMES.slice(6));
  await scene.clock.pass(30 * MINUTE_MS);
  return other;
}

function namingOne(): MemoryCompanion {
  return scene.companion({ controlPlanes: () => new FakeControlPlanes(scene.zone, [scene.plane]) });
}

describe('a control plane that no --kuma-api names', () => {
  test('its dataplanes stay, also after a restart of the companion, and it is said once by name', async () => {
    const other = await twoPlanes();
    const first = namingOne();
    await scene.clock.pass(5 * MINUTE_MS);
    await first.stop();
    const second = namingOne();
    await scene.clock.pass(15 * MINUTE_MS);
    expect(standing()).toEqual(NAMES);
    for (const { log } of [first, second])
      expect(log.lines.filter(({ event }) => event === 'control-plane.unnamed')).toMatchObject([
        { fields: { instanceId: other.instanceId } },
      ]);
  });

  test('what another control plane wrote down as its end counts for nothing, after a restart as well', async () => {
    await twoPlanes();
    const first = namingOne();
    await scene.clock.pass(MINUTE_MS);
    await first.stop();
    const disconnectTime = new Date(scene.plane.nowMs).toISOString();
    for (const name of NAMES.slice(6))
      scene.zone.note(keyOf(name), (known) => known.map((each) => ({ ...each, disconnectTime })));
    namingOne();
    await scene.clock.pass(30 * MINUTE_MS);
    expect(standing()).toEqual(NAMES);
  });
});

describe('two zones on one database', () => {
  test('what left in one zone is not deleted in the other, and goes once its own control plane is back', async () => {
    scene = new CompanionScene('postgres');
    scene.plane.zoneName = 'east';
    const west = new FakeZone(scene.clock);
    const westPlane = west.addPlane();
    westPlane.zoneName = 'west';
    const east = scene.companion();
    await scene.clock.pass(MINUTE_MS);
    await scene.serve(east, 'web-1');
    const mistaken = scene.companion({ controlPlanes: () => new FakeControlPlanes(west) });
    westPlane.open(keyOf('web-1'), resourceOf('web-1'));
    await scene.clock.pass(MINUTE_MS);
    scene.plane.stop(false);
    void east.deregister({ incarnation: incarnationOf('web-1', 'a') }, 1_000);
    await scene.clock.pass(10_000);
    expect(west.find(keyOf('web-1'))).toBeDefined();
    expect(mistaken.log.lines.filter(({ event }) => event === 'zone.foreign')).toMatchObject([
      {
        message: expect.stringContaining('the store belongs to zone east, and --kuma-api leads to zone west'),
      },
    ]);
    scene.plane.start();
    await scene.clock.pass(2 * MINUTE_MS);
    expect({ east: scene.object('web-1'), west: west.find(keyOf('web-1')) }).toMatchObject({
      east: undefined,
      west: { key: keyOf('web-1') },
    });
  });
});

describe('a silent replica', () => {
  test('says nothing about its agents: none is deleted before it had the time to attach elsewhere', async () => {
    scene = new CompanionScene('postgres');
    const paused = { until: Promise.resolve() };
    const slow = (store: Store): Store => {
      const heartbeat = store.heartbeat.bind(store);
      store.heartbeat = async (...given) => {
        await paused.until;
        return heartbeat(...given);
      };
      return store;
    };
    const holder = scene.companion({ store: slow });
    scene.companion();
    await scene.clock.pass(MINUTE_MS);
    for (const name of NAMES) await scene.serve(holder, name);
    await scene.clock.pass(MINUTE_MS);
    const over = Promise.withResolvers<void>();
    paused.until = over.promise;
    await scene.clock.pass(8_000);
    scene.plane.stop(false);
    scene.plane.start();
    await scene.clock.pass(17_000);
    over.resolve();
    await scene.clock.pass(RECONNECTS_MS - 17_000);
    connect(scene.plane, NAMES);
    await scene.clock.pass(MINUTE_MS);
    expect(standing()).toEqual(NAMES);
  });
});

describe('a pause of the companion itself', () => {
  test('what it did not see may have happened', async () => {
    scene = new CompanionScene();
    const companion = scene.companion();
    await scene.clock.pass(MINUTE_MS);
    const streams = [];
    for (const name of NAMES) streams.push(await scene.serve(companion, name));
    await scene.clock.pass(MINUTE_MS);
    scene.plane.stop(false);
    for (const stream of streams) stream.lose();
    scene.plane.start();
    await scene.clock.pass(4_000);
    scene.clock.skip(MINUTE_MS);
    // Due timers fire before the living agents come back.
    await scene.clock.pass(3_000);
    expect(standing()).toEqual(NAMES);
    for (const name of NAMES) await scene.attach(companion, name);
    connect(scene.plane, NAMES);
    await scene.clock.pass(2 * MINUTE_MS);
    expect(standing()).toEqual(NAMES);
  });
});

describe('a step of a clock', () => {
  test.for([
    {
      name: 'the control plane’s, an hour ahead',
      step: (at: CompanionScene) => (at.plane.skewMs += 60 * MINUTE_MS),
    },
    {
      name: 'the database’s, an hour ahead',
      step: (at: CompanionScene) => (at.clock.wallJumpMs += 60 * MINUTE_MS),
    },
  ])('$name: deletes nothing before its time', async ({ step }) => {
    scene = new CompanionScene('postgres');
    const companion = scene.companion();
    await scene.clock.pass(MINUTE_MS);
    // Its agent owns the object, so the control plane deletes nothing by itself.
    const stream = await scene.attach(companion, 'web-1', { owner: Owner.AGENT });
    scene.put('web-1', 'a');
    scene.plane.open(keyOf('web-1'), undefined);
    await scene.serve(companion, 'web-2');
    await scene.clock.pass(MINUTE_MS);
    stream.lose();
    scene.disconnect('web-1');
    await scene.clock.pass(2_000);
    step(scene);
    await scene.clock.pass(12_000);
    expect(scene.object('web-1')).toBeDefined();
    await scene.clock.pass(2 * MINUTE_MS);
    expect(scene.object('web-1')).toBeUndefined();
  });
});
