import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Store } from '../../../../control-plane/ports.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { DeregisterResponse_Outcome as Outcome } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionScene, incarnationOf, uuidOf } from '../../../support/fakes/companion-scene.ts';
import { failable } from '../../../support/fakes/failable.ts';
import type { FakeAgentStream } from '../../../support/fakes/fake-agent-stream.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';
import { MemoryStore } from '../../../support/fakes/memory-store.ts';

const GRACE_MS = 15_000;
/** The grace, Envoy's longest backoff, and looks in between. */
const LONG_MS = 90_000;

describe('two replicas on one database', () => {
  let scene: CompanionScene;
  let first: MemoryCompanion;
  let second: MemoryCompanion;
  let web: FakeAgentStream;
  /** Whether the first one reaches the database. */
  let isCut: boolean;

  beforeEach(async () => {
    scene = new CompanionScene('postgres');
    isCut = false;
    first = scene.companion({ store: (store) => cuttable(store, () => isCut) });
    second = scene.companion();
    await scene.clock.pass(60_000);
    await scene.serve(second, 'bystander');
    web = await scene.serve(first, 'web-1');
    await scene.clock.pass(5_000);
    // From here on, only its agent's stream shows that it lives.
    scene.disconnectForGood('web-1');
  });

  afterEach(async () => {
    expect([...first.log.events, ...second.log.events]).not.toContain('deregistrar.failed');
    await scene[Symbol.asyncDispose]();
  });

  const expectKept = async () => {
    await scene.clock.pass(LONG_MS);
    expect(scene.object('web-1')).toBeDefined();
    expect(scene.record('web-1')).toMatchObject({ state: 'attached', incarnation: uuidOf('a') });
    expect(scene.departures('web-1')).toEqual([]);
  };

  test('a replica that others declared dead without its knowledge takes its streams back', async () => {
    scene.database.tables.replicas.set('replica-1', 0);
    const other = new MemoryStore(scene.database, { clock: scene.clock });
    const silence = { self: 'replica-2', owedMs: 0, silentMs: 6_000, returnMs: () => 60_000, anew: false };
    expect(await other.noteSilence(silence)).toMatchObject({ unseen: 1, lost: 0 });
    expect(scene.record('web-1')).toMatchObject({ state: 'unseen' });
    await expectKept();
    expect(scene.record('web-1')).toMatchObject({ replica: 'replica-1' });
    expect(web.end).toBeUndefined();
  });

  test.for([3_600_000, -3_600_000])(
    'the database’s clock is set by %i ms: no object is deleted',
    async (byMs) => {
      scene.clock.wallJumpMs = byMs;
      await expectKept();
      expect(web.end).toBeUndefined();
    },
  );

  test('the database goes back to before an agent came: its stream gets an epoch above the one that it had', async () => {
    const before = scene.database.snapshot();
    const late = await scene.serve(first, 'late');
    isCut = true;
    await scene.clock.pass(4_000);
    scene.database.tables = before;
    isCut = false;
    await scene.clock.pass(LONG_MS);
    expect(scene.record('late')).toMatchObject({ state: 'attached', replica: 'replica-1' });
    expect(scene.record('late')?.epoch).toBeGreaterThanOrEqual(late.attached?.epoch ?? Number.NaN);
    expect(scene.object('late')).toBeDefined();
    await expectKept();
  });

  test('the database goes back to before a stream was lost: it is lost again, and its object goes', async () => {
    const before = scene.database.snapshot();
    web.lose();
    await scene.clock.pass(500);
    isCut = true;
    await scene.clock.pass(4_000);
    scene.database.tables = before;
    isCut = false;
    await scene.clock.pass(4_000 + GRACE_MS + 8_000);
    expect(scene.object('web-1')).toBeUndefined();
    expect(scene.record('web-1')).toBeUndefined();
  });

  test('a Hello that was heard too late at one replica takes nothing from the other', async () => {
    const late = await scene.attach(second, 'web-1');
    late.lose();
    await expectKept();
    expect(scene.record('web-1')).toMatchObject({ replica: 'replica-1' });
  });

  test('the agents of a replica that dies are lost as of its last heartbeat; those that come back keep their epochs', async () => {
    const epoch = web.attached?.epoch;
    const gone = await scene.serve(first, 'gone');
    scene.disconnectForGood('gone');
    const diedMs = scene.clock.monotonicMs();
    await first.stop();
    await scene.clock.pass(9_000);
    const again = await scene.attach(second, 'web-1');
    expect(again.attached).toMatchObject({ epoch, leaving: false, fenced: true });
    expect(scene.record('gone')).toMatchObject({ state: 'unseen' });
    await scene.clock.pass(diedMs + GRACE_MS - 2_000 - scene.clock.monotonicMs());
    expect(scene.object('gone')).toBeDefined();
    await expectKept();
    expect(scene.object('gone')).toBeUndefined();
    expect(gone.end).toBeUndefined();
  });

  test('a replica that shuts down sends its agents to others, and that is no departure', async () => {
    first.engine.agents.shutDown('this replica is stopping');
    expect(web.received.at(-1)).toEqual({
      $case: 'redirected',
      value: { reason: 'this replica is stopping' },
    });
    web.close();
    await scene.attach(second, 'web-1');
    await first.stop();
    await expectKept();
    expect(first.log.events).not.toContain('agent.lost');
  });

  test('a replica without its database sends its agents to others before they count as lost', async () => {
    isCut = true;
    await scene.clock.pass(5_000);
    expect(web.redirected).toBe(true);
    expect(first.log.events).toContain('store.lost');
    web.close();
    await scene.attach(second, 'web-1');
    await expectKept();
    isCut = false;
    await expectKept();
    expect(scene.record('web-1')).toMatchObject({ replica: 'replica-2' });
    expect(first.log.events).toContain('store.found');
  });

  test('a departure that is requested without the database: deleted at once if the object is its own, recorded later', async () => {
    scene.put('owned', 'a');
    isCut = true;
    await scene.clock.pass(3_000);
    const stranger = await scene.attach(first, 'stranger');
    expect(stranger.attached).toMatchObject({ epoch: 0, fenced: false, leaving: false });
    const left = first.deregister({ incarnation: incarnationOf('owned', 'a') });
    await scene.clock.pass(1_000);
    expect(await left).toMatchObject({ outcome: Outcome.DELETED, durable: false });
    expect(scene.object('owned')).toBeUndefined();
    // Another label, or none, may be a successor's that the database knows.
    const unmarked = first.deregister({ incarnation: incarnationOf('web-1', 'a') });
    await scene.clock.pass(1_000);
    expect(await unmarked).toMatchObject({ outcome: Outcome.ACCEPTED, durable: false });
    expect(scene.object('web-1')).toBeDefined();
    isCut = false;
    await scene.clock.pass(5_000);
    expect(scene.object('web-1')).toBeUndefined();
    expect(scene.departures('web-1')).toMatchObject([{ cause: 'requested', outcome: 'deleted' }]);
    expect(stranger.attached).toMatchObject({ fenced: true });
    expect(stranger.attached?.epoch).toBeGreaterThan(0);
  });
});

function cuttable(store: Store, isCut: () => boolean): Store {
  return failable(store, () =>
    isCut() ? new OperationalError('STORE_UNAVAILABLE', 'Cannot use the store: it is away') : undefined,
  );
}
