import { afterEach, beforeEach, expect, test } from 'vitest';

import type { Store } from '../../../../control-plane/ports.ts';
import { CompanionScene, keyOf } from '../../../support/fakes/companion-scene.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

let scene: CompanionScene;

beforeEach(() => {
  scene = new CompanionScene();
});

afterEach(() => scene[Symbol.asyncDispose]());

test('a caller that has gone before its token was checked is neither attached nor lost', async () => {
  const checked = Promise.withResolvers<void>();
  const credential = { name: '', mesh: 'default', tags: {}, workload: '', id: 'token' };
  const companion = scene.companion({
    authenticator: { authenticate: () => checked.promise.then(() => credential) },
  });
  const stream = await scene.attach(companion, 'gone');
  stream.lose();
  checked.resolve();
  await scene.clock.pass(1_000);
  expect(scene.record('gone')).toBeUndefined();
  expect(companion.log.events).not.toContain('agent.attached');
  expect(companion.log.events).not.toContain('agent.lost');
});

test('repeated facts of an agent are not written again after a restart, new ones are', async () => {
  const written: string[] = [];
  const counted = (inner: Store): Store => {
    const notePhase = inner.notePhase.bind(inner);
    inner.notePhase = (at, said) => {
      written.push(`${at.key.name} ${said.phase} ${String(said.serving)}`);
      return notePhase(at, said);
    };
    return inner;
  };
  const first = scene.companion();
  await scene.clock.pass(2_000);
  await scene.serve(first, 'web-1');
  await scene.serve(first, 'web-2');
  await first.stop();
  const second: MemoryCompanion = scene.companion({ store: counted });
  const again = await scene.attach(second, 'web-1', { phase: 'running' });
  again.phase('running', true);
  again.phase('running', true);
  const other = await scene.attach(second, 'web-2', { phase: 'running' });
  other.phase('running', false);
  other.phase('running', false);
  await scene.clock.pass(1_000);
  expect(written).toEqual(['web-2 running false']);
  expect(scene.database.find(keyOf('web-1'))).toMatchObject({ phase: 'running', serving: true });
  expect(scene.database.find(keyOf('web-2'))).toMatchObject({ phase: 'running', serving: false });
});
