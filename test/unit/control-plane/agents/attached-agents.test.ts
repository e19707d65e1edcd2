import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import {
  bytesOf,
  CompanionScene,
  incarnationOf,
  keyOf,
  resourceOf,
  uuidOf,
} from '../../../support/fakes/companion-scene.ts';
import type { FakeAgentStream } from '../../../support/fakes/fake-agent-stream.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

function put(at: MemoryCompanion, id: string, ready: boolean) {
  return at.register({
    incarnation: incarnationOf('web-1', id),
    resource: bytesOf(resourceOf('web-1')),
    ready,
    rotation: undefined,
    wish: undefined,
  });
}

describe('a name that two incarnations want', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;
  let first: FakeAgentStream;

  beforeEach(async () => {
    scene = new CompanionScene('postgres');
    companion = scene.companion();
    await scene.clock.pass(60_000);
    first = await own(companion, 'a');
  });

  afterEach(async () => {
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  /** An agent that owns its object; its Envoy is connected and serves. */
  const own = async (at: MemoryCompanion, id: string) => {
    const stream = await scene.attach(at, 'web-1', { id, owner: Owner.AGENT });
    await put(at, id, false);
    scene.plane.open(keyOf('web-1'), undefined);
    await put(at, id, true);
    stream.phase('running', true);
    await scene.clock.pass(2_000);
    return stream;
  };
  const come = (id: string, at = companion) => scene.attach(at, 'web-1', { id, owner: Owner.AGENT });
  const holder = () => scene.record('web-1')?.incarnation;
  const label = () => scene.object('web-1')?.resource.labels?.[INCARNATION_LABEL];

  test('the newer is held while the older serves: it is told so, registers nothing, and its stop takes nothing', async () => {
    const newer = await come('b');
    expect(newer.attached).toMatchObject({
      fenced: false,
      epoch: 0,
      held: expect.stringContaining('may serve'),
    });
    await expect(put(companion, 'b', false)).rejects.toThrow('not attached');
    await companion.deregister({ incarnation: incarnationOf('web-1', 'b') }, 2_000);
    newer.close();
    await scene.clock.pass(60_000);
    expect({ holder: holder(), label: label(), end: first.end }).toEqual({
      holder: uuidOf('a'),
      label: uuidOf('a'),
      end: undefined,
    });
    expect(companion.log.events.filter((event) => event === 'agent.held')).toHaveLength(1);
  });

  test.for<{ readonly name: string; readonly end: (first: FakeAgentStream) => unknown }>([
    { name: 'is lost', end: (stream) => stream.lose() },
    { name: 'closes its stream', end: (stream) => stream.close() },
    { name: 'does not serve any more', end: (stream) => stream.phase('draining', false) },
    { name: 'leaves', end: () => companion.deregister({ incarnation: incarnationOf('web-1', 'a') }, 0) },
  ])('the newer gets the name on its stream as soon as the older $name', async ({ end }) => {
    const newer = await come('b');
    void end(first);
    await scene.clock.pass(2_500);
    expect(newer.attached).toMatchObject({ fenced: true, held: '' });
    expect(holder()).toBe(uuidOf('b'));
  });

  test('at another replica as well, where the end of the older is known from the store', async () => {
    const other = scene.companion();
    await scene.clock.pass(10_000);
    const newer = await come('b', other);
    expect(newer.attached).toMatchObject({ fenced: false });
    first.lose();
    await scene.clock.pass(3_000);
    expect(newer.attached).toMatchObject({ fenced: true });
  });

  test('a replacement whose predecessor is gone is let in at once', async () => {
    first.lose();
    await scene.clock.settle();
    expect((await come('b')).attached).toMatchObject({ fenced: true });
  });

  test('the older gets its name and its object back when a newer one, which took it while it did not serve, has left', async () => {
    first.phase('running', false);
    await scene.clock.settle();
    const newer = await own(companion, 'b');
    expect(first.end).toMatchObject({ details: expect.stringContaining('newer incarnation') });
    const leaving = companion.deregister({ incarnation: incarnationOf('web-1', 'b') }, 5_000);
    await scene.clock.pass(1_000);
    await leaving;
    newer.close();
    await scene.clock.pass(1_000);
    expect(scene.object('web-1')).toBeUndefined();
    const again = await come('a');
    expect(again.attached).toMatchObject({ fenced: true });
    again.phase('running', true);
    await scene.clock.pass(30_000);
    expect(label()).toBe(uuidOf('a'));
  });

  test('a run that the store does not know leaves while the other one’s stream is interrupted: the other keeps its object', async () => {
    first.lose();
    await scene.clock.pass(1_000);
    const leaving = companion.deregister({ incarnation: incarnationOf('web-1', 'stranger') }, 2_000);
    await scene.clock.pass(1_000);
    expect(await leaving).toMatchObject({ durable: false });
    expect(label()).toBe(uuidOf('a'));
    expect((await come('a')).attached).toMatchObject({ epoch: 1, fenced: true });
    await scene.clock.pass(60_000);
    expect(label()).toBe(uuidOf('a'));
  });

  test('the leftovers of a newer run that has ended make room for the object of the older', async () => {
    first.phase('running', false);
    await scene.clock.settle();
    const newer = await own(companion, 'b');
    newer.lose();
    await scene.clock.pass(40_000);
    const again = await come('a');
    expect(again.attached).toMatchObject({ fenced: true });
    again.phase('running', true);
    await scene.clock.pass(30_000);
    expect(label()).toBe(uuidOf('a'));
  });

  test('the older, which keeps asking, does not keep the object of a newer one that is lost', async () => {
    first.phase('running', false);
    await scene.clock.settle();
    const newer = await own(companion, 'b');
    for (const stream of scene.plane.streams.values()) scene.plane.end(stream);
    // It is the last one of its service.
    scene.database.tables.releases.set('', scene.clock.wallMs() + 3_600_000);
    newer.lose();
    for (let at = 0; at < 4; at += 1) {
      await scene.clock.pass(5_000);
      await come('a');
    }
    expect(label()).not.toBe(uuidOf('b'));
  });

  test('a newer one that brought nothing and vanished does not keep the name, though the stream of the older is open', async () => {
    const newer = await scene.attach(companion, 'web-1', { id: 'b', resource: Buffer.alloc(0) });
    expect(newer.attached).toMatchObject({ fenced: true });
    await scene.clock.pass(2_000);
    newer.lose();
    await scene.clock.pass(60_000);
    const again = await come('a');
    expect(again.attached).toMatchObject({ fenced: true });
    again.phase('running', true);
    await scene.clock.pass(2_000);
    const leaving = companion.deregister({ incarnation: incarnationOf('web-1', 'a') }, 5_000);
    await scene.clock.pass(2_000);
    expect(await leaving).toMatchObject({ guard: '' });
    expect(scene.object('web-1')).toBeUndefined();
  });

  test('after a restart of the companion the older does not take the name from the newer that is on its way back', async () => {
    first.phase('running', false);
    await scene.clock.settle();
    await own(companion, 'b');
    await companion.stop();
    const restarted = scene.companion();
    await scene.clock.pass(10_000);
    const again = await come('a', restarted);
    expect(again.end).toMatchObject({ details: expect.stringContaining('newer incarnation') });
    expect((await come('b', restarted)).attached).toMatchObject({ fenced: true });
  });
});
