import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { returnTimeMs } from '../../../../control-plane/agents/return-time.pure.ts';
import { CompanionScene } from '../../../support/fakes/companion-scene.ts';
import type { FakeAgentStream } from '../../../support/fakes/fake-agent-stream.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

const BEAT_MS = 2_000;
const NAMES = Array.from({ length: 10 }, (_, at) => `web-${at}`);
const RETURN_MS = returnTimeMs(NAMES.length);

/** The states of all agents, if each has this one. */
const all = (state: string) => NAMES.map(() => state);

describe('a companion that is slow itself', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;
  let streams: FakeAgentStream[];

  beforeEach(async () => {
    scene = new CompanionScene();
    companion = scene.companion();
    await scene.clock.pass(60_000);
    streams = [];
    for (const name of NAMES) streams.push(await scene.serve(companion, name));
  });

  afterEach(async () => {
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  const states = () => NAMES.map((name) => scene.record(name)?.state);
  const hangUp = async (): Promise<void> => {
    for (const stream of streams) stream.close();
    await scene.clock.settle();
  };
  const lost = () => companion.log.events.filter((event) => event === 'agent.lost').length;

  test('streams that end in a turn of 5 s are no losses: their agents have their time to return', async () => {
    scene.clock.skip(5_000);
    await hangUp();
    expect({ states: states(), lost: lost() }).toEqual({ states: all('unseen'), lost: 0 });
    await scene.clock.pass(RETURN_MS - BEAT_MS);
    for (const name of NAMES) await scene.attach(companion, name, { phase: 'running' });
    await scene.clock.pass(120_000);
    expect({ states: states(), lost: lost() }).toEqual({ states: all('attached'), lost: 0 });
    expect(NAMES.filter((name) => scene.object(name) === undefined)).toEqual([]);
  });

  test('an agent that is really gone with such a turn is found after that time', async () => {
    scene.clock.skip(5_000);
    await hangUp();
    const [gone = '', ...living] = NAMES;
    scene.disconnect(gone);
    for (const name of living) await scene.attach(companion, name, { phase: 'running' });
    await scene.clock.pass(RETURN_MS + 5_000 + 2 * 15_000 + 8_000);
    expect(scene.object(gone)).toBeUndefined();
    expect(living.filter((name) => scene.object(name) === undefined)).toEqual([]);
  });

  test('streams that end while it shuts down are no losses, however long that takes', async () => {
    companion.engine.agents.shutDown('this replica is stopping');
    await hangUp();
    await scene.clock.pass(30_000);
    expect({ states: states(), lost: lost() }).toEqual({ states: all('attached'), lost: 0 });
  });

  test('streams that end while it keeps up are losses', async () => {
    await hangUp();
    expect({ states: states(), lost: lost() }).toEqual({ states: all('lost'), lost: NAMES.length });
  });

  test('after a restart, the time for the return stands still while it is busy', async () => {
    await companion.stop();
    companion = scene.companion();
    companion.busyShare = 1;
    await scene.clock.pass(4 * RETURN_MS);
    expect(states()).toEqual(all('unseen'));
    companion.busyShare = 0.2;
    await scene.clock.pass(RETURN_MS - 2 * BEAT_MS);
    expect(states()).toEqual(all('unseen'));
    await scene.clock.pass(4 * BEAT_MS);
    expect(states()).toEqual(all('lost'));
  });

  test('however busy it is, an agent that does not return is lost after 10 min', async () => {
    await companion.stop();
    companion = scene.companion();
    companion.busyShare = 1;
    await scene.clock.pass(600_000 + RETURN_MS + 2 * BEAT_MS);
    expect(states()).toEqual(all('lost'));
  });

  test('an agent that gave up before it heard of its attach is no loss either', async () => {
    const { store } = companion.engine.deps;
    const held = Promise.withResolvers<void>();
    const attach = store.attach.bind(store);
    store.attach = async (...given) => {
      await held.promise;
      return attach(...given);
    };
    const stream = await scene.attach(companion, 'late');
    stream.close();
    held.resolve();
    await scene.clock.settle();
    expect(scene.record('late')).toMatchObject({ state: 'unseen' });
    expect(lost()).toBe(0);
  });
});
