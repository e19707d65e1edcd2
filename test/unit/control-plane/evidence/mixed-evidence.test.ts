import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ControlPlanes } from '../../../../control-plane/ports.ts';
import { sleep } from '../../../../kernel/clock.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import {
  CompanionScene,
  incarnationOf,
  keyOf,
  registerOwn,
  uuidOf,
} from '../../../support/fakes/companion-scene.ts';
import { FakeControlPlanes } from '../../../support/fakes/fake-control-planes.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

const MINUTE_MS = 60_000;
const LONG_MS = 20 * MINUTE_MS;

let scene: CompanionScene;
let companion: MemoryCompanion;

beforeEach(async () => {
  scene = new CompanionScene('postgres');
  companion = scene.companion();
  await scene.clock.pass(MINUTE_MS);
  await scene.serve(companion, 'bystander');
});

afterEach(async () => {
  for (const { log } of scene.companions) expect(log.events).not.toContain('deregistrar.failed');
  await scene[Symbol.asyncDispose]();
});

const deregister = (at: MemoryCompanion, name: string, id: string) =>
  at.deregister({ incarnation: incarnationOf(name, id) }, 5_000).catch(() => undefined);

/** As an agent asks after it has deregistered. */
const confirm = async (name: string, id: string) => {
  for (let left = 4; left > 0; left -= 1) {
    const asked = companion.confirm({ incarnation: incarnationOf(name, id), serving: false }, 1_000);
    await Promise.all([asked.catch(() => undefined), scene.clock.pass(1_000)]);
  }
};

describe('a clone of a host', () => {
  test('that is refused and leaves in order takes nothing from the host that serves', async () => {
    const first = await scene.serveOwn(companion, 'web-1', 'a');
    const clone = await scene.attach(companion, 'web-1', { id: 'b', owner: Owner.AGENT });
    await scene.clock.pass(MINUTE_MS);
    await Promise.all([deregister(companion, 'web-1', 'b'), scene.clock.pass(10_000)]);
    clone.close();
    await scene.clock.pass(LONG_MS);
    expect(first.end).toBeUndefined();
    expect(scene.object('web-1')?.resource.labels).toMatchObject({ [INCARNATION_LABEL]: uuidOf('a') });
  });

  test('that asks while the agent of the host is killed, and is killed itself, does not end what Envoy serves', async () => {
    const first = await scene.serveOwn(companion, 'web-1', 'a');
    const clone = await scene.attach(companion, 'web-1', { id: 'b', owner: Owner.AGENT });
    await scene.clock.pass(MINUTE_MS);
    first.lose();
    await scene.clock.pass(MINUTE_MS);
    clone.lose();
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
  });
});

describe('two zones', () => {
  test('a control plane that is another zone’s from one moment on: what was due waits', async () => {
    scene.plane.zoneName = 'east';
    await scene.clock.pass(MINUTE_MS);
    const web = await scene.serveOwn(companion, 'web-1', 'a');
    await scene.clock.pass(MINUTE_MS);
    web.lose();
    scene.disconnect('web-1');
    scene.plane.zoneName = 'west';
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
    scene.plane.zoneName = 'east';
    await scene.clock.pass(5 * MINUTE_MS);
    expect(scene.object('web-1')).toBeUndefined();
  });

  test('one --kuma-api leads to each: nothing is deleted in either', async () => {
    const other = scene.zone.addPlane();
    scene.plane.zoneName = 'east';
    other.zoneName = 'west';
    const both = scene.companion({
      controlPlanes: () => new FakeControlPlanes(scene.zone, [scene.plane, other]),
    });
    await scene.clock.pass(MINUTE_MS);
    await companion.stop();
    const web = await scene.serveOwn(both, 'web-1', 'a');
    web.lose();
    scene.disconnect('web-1');
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
  });
});

describe('a PUT that lands late', () => {
  let isSlow: boolean;
  let landsMs: number;
  /** Whether the object was there just after a late PUT. */
  let landed: boolean[];

  beforeEach(() => {
    isSlow = false;
    landsMs = 2_500;
    landed = [];
  });

  /** Carries a PUT out long after its caller has given it up. */
  const slow = (port: ControlPlanes): ControlPlanes => {
    const put = port.put.bind(port);
    port.put = async (key, resource, how) => {
      if (!isSlow) return put(key, resource, how);
      how.beforeSend();
      scene.clock.after(landsMs, () => {
        void put(key, resource, { ...how, beforeSend: () => {} }).then(() =>
          landed.push(scene.object('web-1') !== undefined),
        );
      });
      await sleep(scene.clock, 2_000);
      throw new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot put: no answer');
    };
    return port;
  };

  test.for([
    { name: 'made ready', missing: false, after: 2_500 },
    { name: 'registered anew', missing: true, after: 2_500 },
    { name: 'made ready when no agent looks any more', missing: false, after: 12_000 },
    { name: 'registered anew when no agent looks any more', missing: true, after: 12_000 },
  ])('an object that is $name after its dataplane has left goes again', async ({ missing, after }) => {
    landsMs = after;
    const registering = scene.companion({ controlPlanes: slow });
    await scene.clock.pass(MINUTE_MS);
    const web = await scene.attach(registering, 'web-1', { owner: Owner.AGENT });
    await registerOwn(registering, { name: 'web-1', id: 'a', ready: false });
    scene.plane.open(keyOf('web-1'), undefined);
    if (missing) scene.zone.delete(keyOf('web-1'), 'operator');
    isSlow = true;
    void registerOwn(registering, { name: 'web-1', id: 'a', ready: true }).catch(() => {});
    await scene.clock.pass(1_000);
    scene.disconnect('web-1');
    await Promise.all([deregister(registering, 'web-1', 'a'), scene.clock.pass(1_000)]);
    await confirm('web-1', 'a');
    web.close();
    await scene.clock.pass(LONG_MS);
    expect(landed).toEqual([true]);
    expect(scene.object('web-1')).toBeUndefined();
  });
});

describe('a store that is set back', () => {
  test('to a departure that has ended does not end its successor, which serves', async () => {
    const first = await scene.serveOwn(companion, 'web-1', 'a');
    scene.plane.stop(false);
    void deregister(companion, 'web-1', 'a');
    await scene.clock.pass(3_000);
    first.close();
    const before = scene.database.snapshot();
    scene.disconnect('web-1');
    scene.plane.start();
    await scene.clock.pass(MINUTE_MS);
    expect(scene.object('web-1')).toBeUndefined();
    const next = await scene.serveOwn(companion, 'web-1', 'b');
    scene.database.tables = before;
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
    expect(next.end).toBeUndefined();
  });

  test('while its replica is paused: agents that are attached elsewhere by then keep their objects', async () => {
    const other = scene.companion();
    await scene.clock.pass(MINUTE_MS);
    const web = await scene.serveOwn(companion, 'web-1', 'a');
    const before = scene.database.snapshot();
    web.silent = true;
    await scene.attach(other, 'web-1', { id: 'a', owner: Owner.AGENT, phase: 'running' });
    scene.database.tables = before;
    scene.clock.skip(30_000);
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
    expect(scene.record('web-1')).toMatchObject({ state: 'attached' });
  });
});

describe('a step of a clock', () => {
  test.for([-60, 60])(
    'of the control plane, by %i min, between two looks at a loss, hastens nothing',
    async (minutes) => {
      const web = await scene.serveOwn(companion, 'web-1', 'a');
      await scene.clock.pass(MINUTE_MS);
      scene.plane.skewMs += minutes * MINUTE_MS;
      web.lose();
      await scene.clock.pass(7_000);
      scene.plane.skewMs -= 2 * minutes * MINUTE_MS;
      scene.disconnect('web-1');
      await scene.clock.pass(7_000);
      expect(scene.object('web-1')).toBeDefined();
      await scene.clock.pass(LONG_MS);
      expect(scene.object('web-1')).toBeUndefined();
    },
  );

  test('of the host, back and forth while a machine is suspended, ends no agent that returns', async () => {
    const web = await scene.serveOwn(companion, 'web-1', 'a');
    await scene.clock.pass(MINUTE_MS);
    web.lose();
    scene.clock.wallJumpMs = -10 * MINUTE_MS;
    await scene.clock.pass(5_000);
    scene.clock.skip(20_000);
    scene.clock.wallJumpMs = 10 * MINUTE_MS;
    await scene.clock.pass(1_000);
    expect(scene.object('web-1')).toBeDefined();
    await scene.attach(companion, 'web-1', { id: 'a', owner: Owner.AGENT, phase: 'running' });
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
  });
});
