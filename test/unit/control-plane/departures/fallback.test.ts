import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import {
  CompanionScene,
  keyOf,
  resourceOf,
  registerOwn,
  uuidOf,
} from '../../../support/fakes/companion-scene.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

const GRACE_MS = 15_000;
/** The grace, Envoy's longest backoff, and looks in between. */
const LONG_MS = 90_000;
const BACKOFF_MS = 30_000;

describe('a stream that ends without a word', () => {
  let scene: CompanionScene;
  let companion: MemoryCompanion;

  beforeEach(async () => {
    scene = new CompanionScene();
    companion = scene.companion();
    await scene.clock.pass(60_000);
    // Never the last one of the service.
    await scene.serve(companion, 'bystander');
  });

  afterEach(async () => {
    expect(scene.object('bystander')).toBeDefined();
    expect(companion.log.events).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  const own = (name: string) => scene.serveOwn(companion, name);

  test('with its dataplane: the object is deleted after the grace, not before, and can be put back', async () => {
    const stream = await own('lost');
    stream.lose();
    scene.disconnect('lost');
    await scene.clock.pass(GRACE_MS - 1);
    expect(scene.object('lost')).toBeDefined();
    expect(scene.record('lost')).toMatchObject({ state: 'lost', guard: 'evidence-too-young' });
    await scene.clock.pass(3_000);
    expect(scene.object('lost')).toBeUndefined();
    expect(scene.record('lost')).toBeUndefined();
    const { departures } = await companion.status();
    expect(departures).toMatchObject([
      {
        incarnation: uuidOf('a'),
        outcome: 'deleted',
        reason: 'its agent and its streams were silent for the grace',
        undoable: true,
      },
    ]);
    await companion.undo({ dataplane: { mesh: 'default', name: 'lost' }, allSidelined: false });
    expect(scene.object('lost')?.resource).toMatchObject({ labels: { [INCARNATION_LABEL]: uuidOf('a') } });
  });

  test('while its dataplane is connected: the object stays, and the status says why', async () => {
    const stream = await own('connected');
    stream.lose();
    await scene.clock.pass(LONG_MS);
    const { dataplanes } = await companion.status();
    expect(dataplanes.find(({ dataplane }) => dataplane?.name === 'connected')).toMatchObject({
      state: 'lost',
      guard: 'subscription-online',
      reason: `connected to ${scene.plane.instanceId ?? ''}`,
    });
    expect(scene.object('connected')).toBeDefined();
    scene.disconnect('connected');
    await scene.clock.pass(GRACE_MS + 8_000);
    expect(scene.object('connected')).toBeUndefined();
  });

  test('and returns within the grace: nothing is deleted', async () => {
    const stream = await own('returns');
    stream.lose();
    scene.disconnect('returns');
    await scene.clock.pass(GRACE_MS - 100);
    await scene.attach(companion, 'returns', { owner: Owner.AGENT });
    scene.plane.open(keyOf('returns'), undefined);
    await scene.clock.pass(LONG_MS);
    expect(scene.record('returns')).toMatchObject({ state: 'attached', incarnation: uuidOf('a') });
    expect(scene.object('returns')).toBeDefined();
  });

  test('and replaced under its name within the grace: the successor is not touched', async () => {
    const stream = await own('replaced');
    stream.lose();
    scene.disconnect('replaced');
    await scene.clock.settle();
    const { epoch = 0 } = scene.record('replaced') ?? {};
    const newer = await scene.attach(companion, 'replaced', { id: 'b', owner: Owner.AGENT });
    expect(newer.attached?.epoch).toBeGreaterThan(epoch);
    await registerOwn(companion, { name: 'replaced', id: 'b', ready: false });
    await scene.clock.pass(LONG_MS);
    expect(scene.object('replaced')?.resource.labels).toEqual({ [INCARNATION_LABEL]: uuidOf('b') });
    expect(scene.departures('replaced')).toEqual([
      { incarnation: uuidOf('a'), cause: 'fallback', outcome: 'superseded', guard: 'newer-epoch' },
    ]);
  });

  test('of an object that its agent would not delete: it stays, and is forgotten', async () => {
    const stream = await scene.attach(companion, 'applied', { deletable: false });
    scene.zone.put(keyOf('applied'), resourceOf('applied'), scene.plane);
    stream.lose();
    await scene.clock.pass(LONG_MS);
    expect(companion.log.lines).toContainEqual(
      expect.objectContaining({
        event: 'agent.lost',
        message: expect.stringMatching(/ its dataplane stays, since its owner deletes it$/),
      }),
    );
    expect(scene.record('applied')).toBeUndefined();
    expect(scene.object('applied')).toBeDefined();
  });

  test('after its agent said that its object is to stay: it stays', async () => {
    const stream = await own('to-stay');
    stream.stopped({ outcome: 'kept' }, true);
    stream.close();
    scene.disconnect('to-stay');
    await scene.clock.pass(LONG_MS);
    expect(scene.record('to-stay')).toBeUndefined();
    expect(scene.object('to-stay')).toBeDefined();
    expect(stream.end).toBe('closed');
  });

  test('in a network partition: kept while connected, and it comes back', async () => {
    const stream = await own('partitioned');
    const epoch = stream.attached?.epoch;
    stream.lose();
    await scene.clock.pass(LONG_MS);
    expect(scene.record('partitioned')).toMatchObject({ state: 'lost', guard: 'subscription-online' });
    const again = await scene.attach(companion, 'partitioned', { owner: Owner.AGENT });
    expect(again.attached?.epoch).toBe(epoch);
    expect(scene.record('partitioned')).toMatchObject({ state: 'attached', guard: undefined });
  });

  test('for so long that the object was deleted: it attaches anew and puts it again', async () => {
    const stream = await own('cut-off');
    stream.lose();
    scene.disconnect('cut-off');
    await scene.clock.pass(LONG_MS);
    expect(scene.object('cut-off')).toBeUndefined();
    const again = await scene.attach(companion, 'cut-off', { owner: Owner.AGENT });
    expect(again.attached).toMatchObject({ leaving: false, fenced: true });
    expect(again.attached?.epoch).toBeGreaterThan(stream.attached?.epoch ?? 0);
    await registerOwn(companion, { name: 'cut-off', id: 'a', ready: true });
    expect(scene.object('cut-off')?.resource.labels).toEqual({ [INCARNATION_LABEL]: uuidOf('a') });
  });

  test('before it ever served: the object that it had put goes without a stream on record', async () => {
    const stream = await scene.attach(companion, 'stillborn', { owner: Owner.AGENT });
    await registerOwn(companion, { name: 'stillborn', id: 'a', ready: false });
    stream.lose();
    await scene.clock.pass(GRACE_MS + 2_000);
    expect(scene.object('stillborn')).toBeUndefined();
    expect(scene.departures('stillborn')).toMatchObject([{ cause: 'fallback', outcome: 'deleted' }]);
  });

  test.for([
    { title: 'its inbounds refuse', isRefused: true, neededMs: GRACE_MS },
    { title: 'its Envoy may be about to connect', isRefused: false, neededMs: GRACE_MS + BACKOFF_MS },
  ])('while the control plane is down: its ghost goes once that is back; $title', async (given) => {
    const stream = await own('ghost');
    if (given.isRefused) scene.refusing.add('ghost');
    scene.plane.stop(false);
    stream.lose();
    await scene.clock.pass(LONG_MS);
    expect(scene.object('ghost')).toBeDefined();
    scene.plane.start();
    scene.plane.open(keyOf('bystander'), resourceOf('bystander'));
    await scene.clock.pass(given.neededMs - 1_000);
    expect(scene.object('ghost')).toBeDefined();
    await scene.clock.pass(5_000);
    expect(scene.object('ghost')).toBeUndefined();
    expect(scene.departures('ghost')).toMatchObject([{ cause: 'fallback', outcome: 'deleted' }]);
  });

  test('of a dataplane whose Envoy connects again late after a crash of its control plane: it stays', async () => {
    const stream = await own('patient');
    scene.plane.stop(false);
    stream.lose();
    await scene.clock.pass(LONG_MS);
    scene.plane.start();
    scene.plane.open(keyOf('bystander'), resourceOf('bystander'));
    await scene.clock.pass(BACKOFF_MS);
    scene.plane.open(keyOf('patient'), undefined);
    await scene.clock.pass(LONG_MS);
    expect(scene.object('patient')).toBeDefined();
  });

  test('of every agent, with every stream and the control plane: no object is deleted', async () => {
    const names = ['web-1', 'web-2', 'web-3'];
    const streams = [];
    for (const name of names) streams.push(await own(name));
    for (const stream of streams) stream.lose();
    scene.plane.stop(true);
    await scene.clock.pass(60_000);
    for (const name of names) expect(scene.record(name)).toMatchObject({ state: 'lost' });
    scene.plane.start();
    scene.plane.open(keyOf('bystander'), resourceOf('bystander'));
    await scene.clock.pass(GRACE_MS - 3_000);
    for (const name of names) {
      await scene.attach(companion, name, { owner: Owner.AGENT });
      scene.plane.open(keyOf(name), undefined);
    }
    await scene.clock.pass(LONG_MS);
    for (const name of names) expect(scene.object(name)).toBeDefined();
    for (const name of names) expect(scene.record(name)).toMatchObject({ state: 'attached' });
  });
});
