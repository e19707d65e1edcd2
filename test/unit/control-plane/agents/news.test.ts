import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionScene } from '../../../support/fakes/companion-scene.ts';
import type { FakeAgentStream } from '../../../support/fakes/fake-agent-stream.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

/** Which control planes the companion has told this agent of. */
function news(stream: FakeAgentStream): readonly string[] {
  return stream.received.flatMap((message) => (message.$case === 'news' ? [message.value.instanceId] : []));
}

describe('what agent and companion tell each other on their stream', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;

  beforeEach(async () => {
    scene = new CompanionScene('postgres');
    companion = scene.companion();
    await scene.clock.pass(10_000);
  });

  afterEach(async () => {
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  test('a restart of the control plane is news to the agents that take it, once', async () => {
    const attached = await scene.attach(companion, 'web-1', { takesNews: true });
    const old = await scene.attach(companion, 'web-2');
    await scene.clock.pass(60_000);
    expect(news(attached), 'while nothing changes').toEqual([]);
    scene.plane.stop(false);
    await scene.clock.pass(1_000);
    scene.plane.start();
    await scene.clock.pass(10_000);
    const { instanceId } = scene.plane;
    expect(news(attached).at(-1)).toBe(instanceId);
    const heard = news(attached).length;
    await scene.clock.pass(60_000);
    expect(news(attached)).toHaveLength(heard);
    expect(news(old)).toEqual([]);
  });

  test('all agents of a large fleet hear of it within 10 s', async () => {
    const streams: FakeAgentStream[] = [];
    for (let at = 0; at < 350; at += 1)
      streams.push(await scene.attach(companion, `web-${at}`, { takesNews: true }));
    scene.plane.stop(false);
    scene.plane.start();
    await scene.clock.pass(10_000);
    const { instanceId } = scene.plane;
    expect(streams.filter((stream) => news(stream).at(-1) !== instanceId)).toEqual([]);
  });

  test('an agent whose start did not wait says on its stream that the control plane owns the object', async () => {
    const stream = await scene.attach(companion, 'web-1', { owner: Owner.AGENT });
    const before = scene.record('web-1');
    expect(before?.owner).toBe('agent');
    stream.phase('starting', false, Owner.CONTROL_PLANE);
    await scene.clock.settle();
    expect(scene.record('web-1')).toMatchObject({ owner: 'cp', epoch: before?.epoch, state: 'attached' });
    expect(stream.end).toBeUndefined();
    expect(stream.redirected).toBe(false);
  });

  test('an owner that no version knows ends the stream', async () => {
    const stream = await scene.attach(companion, 'web-1', { owner: Owner.AGENT });
    stream.phase('starting', false, 77 as Owner);
    await scene.clock.settle();
    expect(stream.end).toMatchObject({ details: expect.stringContaining('owner') as unknown });
    expect(scene.record('web-1')?.owner).toBe('agent');
  });
});
