import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { returnTimeMs } from '../../../../control-plane/agents/return-time.pure.ts';
import type { ControlPlanes } from '../../../../control-plane/ports.ts';
import { CompanionScene, uuidOf } from '../../../support/fakes/companion-scene.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

const GRACE_MS = 15_000;
const BEAT_MS = 2_000;
const NAMES = Array.from({ length: 10 }, (_, at) => `web-${at}`);
const RETURN_MS = returnTimeMs(NAMES.length);

describe('a restart of the companion', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;
  /** Looks at single objects. */
  let looks: string[];

  beforeEach(async () => {
    scene = new CompanionScene();
    companion = scene.companion();
    looks = [];
    await scene.clock.pass(60_000);
    for (const name of NAMES) await scene.serve(companion, name);
  });

  afterEach(async () => {
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  const counted = (inner: ControlPlanes): ControlPlanes => {
    const overview = inner.overview.bind(inner);
    inner.overview = (key, signal) => {
      looks.push(key.name);
      return overview(key, signal);
    };
    return inner;
  };
  const restart = async (): Promise<void> => {
    await companion.stop();
    companion = scene.companion({ controlPlanes: counted });
    await scene.clock.settle();
  };
  const states = () => NAMES.map((name) => scene.record(name)?.state);

  test('is no loss: while the agents return, nothing is judged and no object is looked at', async () => {
    await restart();
    expect(states()).toEqual(NAMES.map(() => 'unseen'));
    const stepMs = (RETURN_MS - BEAT_MS) / NAMES.length;
    for (const name of NAMES) {
      await scene.clock.pass(stepMs);
      await scene.attach(companion, name);
    }
    await scene.clock.pass(60_000);
    expect(states()).toEqual(NAMES.map(() => 'attached'));
    expect(looks).toEqual([]);
    expect(companion.log.events).not.toContain('agent.lost');
    expect(companion.log.events).not.toContain('agents.missing');
  });

  test('a tenth that is really gone is found once the others have had their time, and goes after its graces', async () => {
    const [gone = '', ...living] = NAMES;
    await restart();
    scene.disconnect(gone);
    for (const name of living) await scene.attach(companion, name);
    await scene.clock.pass(RETURN_MS - 1);
    expect(scene.record(gone)).toMatchObject({ state: 'unseen', attempts: 0 });
    expect(looks).toEqual([]);
    await scene.clock.pass(BEAT_MS);
    expect(scene.record(gone)).toMatchObject({ state: 'lost' });
    await scene.clock.pass(2 * GRACE_MS + 8_000);
    expect(scene.object(gone)).toBeUndefined();
    expect(living.filter((name) => scene.object(name) === undefined)).toEqual([]);
    expect(new Set(looks)).toEqual(new Set([gone]));
  });

  test('in the middle of the return, three times: all of the time begins anew', async () => {
    for (const again of [1, 2, 3]) {
      await restart();
      await scene.attach(companion, `web-${again}`);
      await scene.clock.pass(RETURN_MS - BEAT_MS);
    }
    expect(states()).not.toContain('lost');
    for (const name of NAMES) await scene.attach(companion, name);
    await scene.clock.pass(60_000);
    expect(states()).toEqual(NAMES.map(() => 'attached'));
    expect(looks).toEqual([]);
  });

  test('a control plane that returns meanwhile hastens nothing', async () => {
    await restart();
    scene.plane.stop(false);
    await scene.clock.pass(3_000);
    scene.plane.start();
    await scene.clock.pass(3_000);
    expect(states()).toEqual(NAMES.map(() => 'unseen'));
    expect(looks).toEqual([]);
  });

  test('an agent that is unseen leaves like any other', async () => {
    await restart();
    await scene.clock.pass(5_000);
    expect(scene.record('web-1')).toMatchObject({ state: 'unseen' });
    const answer = companion.deregister({
      incarnation: { dataplane: { mesh: 'default', name: 'web-1' }, id: uuidOf('a'), address: '' },
    });
    await scene.clock.pass(5_000);
    await answer;
    expect(scene.object('web-1')).toBeUndefined();
  });
});
