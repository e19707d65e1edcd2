import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { CompanionScene } from '../../../support/fakes/companion-scene.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

/** The grace (15 s), Envoy's longest backoff, and looks in between. */
const LONG_MS = 90_000;

describe('dataplanes that vanish at once', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;

  beforeEach(async () => {
    scene = new CompanionScene();
    companion = scene.companion();
    await scene.clock.pass(60_000);
  });

  afterEach(async () => {
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  async function vanish(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      const stream = await scene.serveOwn(companion, name);
      stream.lose();
      scene.disconnect(name);
    }
    await scene.clock.pass(LONG_MS);
  }

  const left = (names: readonly string[]): readonly string[] =>
    names.filter((name) => scene.object(name) !== undefined);

  test('the last ready one of a service stays, and goes as soon as another one is ready', async () => {
    await vanish('last');
    expect(scene.record('last')).toMatchObject({ guard: 'brake' });
    await scene.serveOwn(companion, 'next');
    // The companion looks again every 15 s.
    await scene.clock.pass(20_000);
    expect(scene.object('last')).toBeUndefined();
    expect(scene.object('next')).toBeDefined();
  });

  test('a quarter goes, the rest waits for an operator, and a release for another mesh lets nothing through', async () => {
    const lost = Array.from({ length: 5 }, (_, at) => `lost-${at}`);
    for (let at = 0; at < 7; at += 1) await scene.serveOwn(companion, `stays-${at}`);
    await vanish(...lost);
    expect(left(lost)).toHaveLength(2);
    for (const name of left(lost)) expect(scene.record(name)).toMatchObject({ guard: 'brake' });
    await companion.releaseBrake({ mesh: 'other', duration: { seconds: 60, nanos: 0 } });
    await scene.clock.pass(20_000);
    expect(left(lost)).toHaveLength(2);
    await companion.releaseBrake({ mesh: '', duration: { seconds: 60, nanos: 0 } });
    await scene.clock.pass(20_000);
    expect(left(lost)).toEqual([]);
    for (let at = 0; at < 7; at += 1) expect(scene.object(`stays-${at}`)).toBeDefined();
  });

  test('without an operator the rest goes when the window has passed', async () => {
    const lost = Array.from({ length: 5 }, (_, at) => `lost-${at}`);
    for (let at = 0; at < 7; at += 1) await scene.serveOwn(companion, `stays-${at}`);
    await vanish(...lost);
    expect(left(lost)).toHaveLength(2);
    await scene.clock.pass(11 * 60_000);
    expect(left(lost)).toEqual([]);
  });
});
