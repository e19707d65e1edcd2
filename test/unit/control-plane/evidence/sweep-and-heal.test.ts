import { afterEach, describe, expect, test } from 'vitest';

import type { EngineSettings } from '../../../../control-plane/engine.ts';
import type { ControlPlanes } from '../../../../control-plane/ports.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { INCARNATION_LABEL } from '../../../../kuma/dataplane.ts';
import {
  ConfirmResponse_Verdict as Verdict,
  DeregisterResponse_Outcome as Outcome,
} from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionScene, incarnationOf, keyOf, resourceOf } from '../../../support/fakes/companion-scene.ts';
import type { MemoryCompanion } from '../../../support/fakes/memory-companion.ts';

/** A loss without a request is believed after the grace (15 s), Envoy's longest backoff, and a look. */
const BELIEVED_MS = 60_000;
const HOUR_MS = 3_600_000;

let scene: CompanionScene;
let companion: MemoryCompanion;

/** Objects that are there from the beginning: by whom they were put, and since when Kuma shows them offline. */
function start(settings: Partial<EngineSettings> = {}): void {
  scene = new CompanionScene('sqlite', settings);
  scene.plane.open(keyOf('bystander'), resourceOf('bystander'));
  leftBehind('offline', { brought: true, endedForMs: HOUR_MS });
  leftBehind('by-hand', { endedForMs: HOUR_MS });
  leftBehind('only-just', { brought: true, endedForMs: 5_000 });
  leftBehind('ours', { endedForMs: HOUR_MS, labels: { [INCARNATION_LABEL]: 'an-incarnation-of-it' } });
  companion = scene.companion({ controlPlanes: refusable });
}

/** Why the control plane refuses a PUT. */
let refusal: string | undefined;

function refusable(port: ControlPlanes): ControlPlanes {
  const put = port.put.bind(port);
  port.put = async (...call) => {
    if (refusal !== undefined) throw new OperationalError('ENDPOINT_REJECTED', refusal);
    return put(...call);
  };
  return port;
}

interface Past {
  readonly endedForMs: number;
  readonly connectedForMs?: number;
  readonly brought?: boolean;
  readonly labels?: Record<string, string>;
}

function leftBehind(name: string, past: Past): void {
  const { endedForMs, connectedForMs = HOUR_MS, brought = false, labels } = past;
  const endedAtMs = scene.clock.wallMs() - endedForMs;
  const beganAtMs = endedAtMs - connectedForMs;
  const resource = { ...resourceOf(name), ...(labels === undefined ? {} : { labels }) };
  scene.zone.put(keyOf(name), resource, { nowMs: beganAtMs, brought });
  scene.zone.note(keyOf(name), () => [
    {
      id: `of-${name}`,
      controlPlaneInstanceId: scene.plane.instanceId,
      connectTime: new Date(beganAtMs).toISOString(),
      disconnectTime: new Date(endedAtMs).toISOString(),
    },
  ]);
}

async function guards(dryRun: boolean): Promise<Readonly<Record<string, string>>> {
  const { candidates } = await companion.sweep({ dryRun });
  return Object.fromEntries(candidates.map(({ dataplane, guard }) => [dataplane?.name ?? '', guard]));
}

/** Deletes it as Kuma's own races do. */
function remove(name: string): void {
  scene.zone.delete(keyOf(name), 'kuma');
}

afterEach(async () => {
  expect(scene.object('bystander')).toBeDefined();
  expect(companion.log.events).not.toContain('deregistrar.failed');
  await scene[Symbol.asyncDispose]();
});

describe('a sweep', () => {
  test('that is a dry run says who would go, and who is held back by what, and deletes nothing', async () => {
    start({ sweep: 'report' });
    await scene.clock.pass(1_000);
    expect(await guards(true)).toMatchObject({ offline: 'probation', 'by-hand': 'not-lifecycle-managed' });
    await scene.clock.pass(BELIEVED_MS);
    expect(await guards(true)).toEqual({
      offline: '',
      ours: '',
      'by-hand': 'not-lifecycle-managed',
      'only-just': 'evidence-too-young',
    });
    await scene.clock.pass(HOUR_MS / 12);
    // In report mode it reports once.
    expect(companion.log.events.filter((event) => event === 'sweep.reported')).toHaveLength(2);
    for (const name of ['offline', 'ours', 'by-hand', 'only-just']) expect(scene.object(name)).toBeDefined();
  });

  test('deletes what Kuma shows offline for long and a machine had put, and nothing else', async () => {
    start();
    await scene.clock.pass(BELIEVED_MS);
    await guards(false);
    await scene.clock.pass(2_000);
    for (const name of ['offline', 'ours']) {
      expect(scene.object(name)).toBeUndefined();
      expect(scene.departures(name)).toMatchObject([{ cause: 'sweep', outcome: 'deleted' }]);
    }
    expect((await companion.status()).departures[0]).toMatchObject({
      reason: 'Kuma showed it offline, and no agent was attached',
      undoable: true,
    });
    for (const name of ['by-hand', 'only-just']) expect(scene.object(name)).toBeDefined();
  });

  // What 2.10.1 leaves behind: it does not say in its insight that it made the object.
  test('leaves what bears no mark of a machine, unless its agent asked to leave', async () => {
    start();
    leftBehind('requested', { endedForMs: HOUR_MS });
    await scene.clock.pass(BELIEVED_MS);
    expect(await guards(false)).toMatchObject({
      'by-hand': 'not-lifecycle-managed',
      requested: 'not-lifecycle-managed',
    });
    const asked = companion.deregister({ incarnation: incarnationOf('requested', 'a') });
    await scene.clock.pass(1_000);
    expect((await asked).outcome).toBe(Outcome.DELETED);
    expect(scene.object('requested')).toBeUndefined();
    expect(scene.object('by-hand')).toBeDefined();
  });
});

describe('a missing object of a running dataplane', () => {
  const three = ['missing', 'leaving', 'not-serving'];
  async function serveAll(): Promise<void> {
    const streams = await Promise.all(three.map((name) => scene.serve(companion, name)));
    streams[2]?.phase('running', false);
    // The companion has seen the objects once.
    await scene.clock.pass(16_000);
  }

  test('is put back as it was; of one that leaves or does not serve, never', async () => {
    start();
    await serveAll();
    const before = scene.object('missing');
    const left = companion.deregister({ incarnation: incarnationOf('leaving', 'a') });
    await scene.clock.pass(1_000);
    expect((await left).outcome).toBe(Outcome.DELETED);
    for (const name of ['missing', 'not-serving']) remove(name);
    await scene.clock.pass(60_000);
    expect(scene.object('missing')?.resource).toMatchObject({ networking: before?.resource.networking });
    expect(companion.healed).toHaveLength(1);
    expect(companion.log.events.filter((event) => event === 'dataplane.healed')).toHaveLength(1);
    for (const name of ['leaving', 'not-serving']) expect(scene.object(name)).toBeUndefined();
  });

  test('that the control plane refuses is named once for each reason, and put back once it may be', async () => {
    start();
    await serveAll();
    const said = (): readonly string[] =>
      companion.log.lines
        .filter(({ event }) => event === 'dataplane.missing')
        .map(({ fields }) => String(fields?.['err']));
    refusal = 'Cannot put: 400';
    remove('missing');
    await scene.clock.pass(60_000);
    expect(said()).toEqual([expect.stringContaining('400')]);
    refusal = 'Cannot put: 403';
    await scene.clock.pass(60_000);
    expect(said()).toEqual([expect.stringContaining('400'), expect.stringContaining('403')]);
    refusal = undefined;
    await scene.clock.pass(60_000);
    expect(scene.object('missing')).toBeDefined();
    expect(companion.healed).toHaveLength(1);
  });

  test('stays missing with --heal off', async () => {
    start({ heal: false });
    await serveAll();
    remove('missing');
    await scene.clock.pass(BELIEVED_MS * 3);
    expect(scene.object('missing')).toBeUndefined();
    expect(companion.healed).toEqual([]);
  });

  test('that its control plane made again after it had left waits for the agent, then goes', async () => {
    start({ heal: false });
    await scene.clock.pass(BELIEVED_MS);
    const stream = await scene.serve(companion, 'made-again');
    const left = companion.deregister({ incarnation: incarnationOf('made-again', 'a') });
    await scene.clock.pass(1_000);
    expect((await left).outcome).toBe(Outcome.DELETED);
    scene.disconnect('made-again');
    leftBehind('made-again', { brought: true, endedForMs: 0, connectedForMs: 0 });
    // A successor may be a dataplane without an agent.
    const confirmed = companion.confirm({ incarnation: incarnationOf('made-again', 'a'), serving: false });
    await scene.clock.pass(1_000);
    expect((await confirmed).verdict).toBe(Verdict.WAIT);
    expect(scene.object('made-again')).toBeDefined();
    stream.lose();
    await scene.clock.pass(80_000);
    expect(scene.object('made-again')).toBeUndefined();
  });
});
