import { readFileSync } from 'node:fs';

import { beforeAll, describe, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/departures/crash-points.ts';
import { CompanionWorld, dataplane } from '../../support/companion-world.ts';
import { crashBuild } from '../../support/replicas/crash-build.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let bin: string;

const INCARNATION = 'the-incarnation';

/** An action of a companion for one dataplane, `subject`, that passes crash points. */
interface Scenario {
  readonly act: (world: CompanionWorld) => Promise<unknown>;
  /** The steps that it passes, in order. */
  readonly steps: readonly CrashPoint[];
  /** What must have become of the object in the end. */
  readonly leaves: boolean;
}

const DELETION = [
  'attempt.read',
  'attempt.body-kept',
  'attempt.sending',
  'attempt.deleted',
  'attempt.recorded',
] as const;

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'an attachment': {
    act: (world) => world.agent('subject', { incarnation: INCARNATION }).attach(),
    steps: ['attach.recorded'],
    leaves: false,
  },
  'a registration': {
    act: async (world) => {
      const agent = world.owner('subject', { incarnation: INCARNATION });
      await agent.attach();
      await agent.register(false);
    },
    steps: ['attach.recorded', 'register.sending', 'register.put'],
    leaves: false,
  },
  'a deregistration': {
    act: async (world) => (await world.running('subject', { incarnation: INCARNATION })).deregister(),
    steps: ['attach.recorded', 'leave.recorded', ...DELETION],
    leaves: true,
  },
  'a deregistration of one that brought its resource': {
    act: async (world) => {
      const resource = dataplane('subject');
      await (await world.running('subject', { incarnation: INCARNATION, resource })).deregister();
    },
    steps: ['attach.recorded', 'leave.recorded', ...DELETION],
    leaves: true,
  },
  'a fallback': {
    act: async (world) => {
      (await world.running('subject', { incarnation: INCARNATION })).vanish();
      world.disconnect('subject');
      await world.waitUntilGone('subject');
      await world.waitForDeparture('subject');
    },
    steps: ['attach.recorded', 'attempt.read', ...DELETION],
    leaves: true,
  },
};

/**
 * Each step of the scenarios that delete the object, or of the others; `STEP:2` is the second time. A fallback
 * finishes what no agent has requested yet.
 */
function casesOf(leaves: boolean): readonly (readonly [string, string, Scenario])[] {
  return Object.entries(SCENARIOS)
    .filter(([, scenario]) => scenario.leaves === leaves)
    .flatMap(([name, scenario]) =>
      scenario.steps.map((step, at) => {
        const nth = scenario.steps.slice(0, at + 1).filter((each) => each === step).length;
        return [name, nth === 1 ? step : `${step}:${nth}`, scenario] as const;
      }),
    )
    .filter(([name, step]) => step !== 'attach.recorded' || !name.startsWith('a deregistration'));
}

beforeAll(async () => {
  bin = await crashBuild();
});

describe('the steps', () => {
  test.concurrent.for(Object.entries(SCENARIOS))(
    'of %s are those at which the companion is killed below',
    async ([, scenario]) => {
      using dir = new TemporaryDir();
      const steps = dir.join('steps');
      await using world = await crashing({ CRASH_AT: `list:${steps}` });
      await scenario.act(world);
      const passed = readFileSync(steps, 'utf8').trim().split('\n');
      // How often a fallback looks depends on the clock.
      expect(new Set(passed)).toEqual(new Set(scenario.steps));
      expect(passed.at(-1)).toBe(scenario.steps.at(-1));
    },
  );
});

describe('a companion', () => {
  test.concurrent.for(casesOf(true))(
    'finishes %s after a kill at the step %s, once',
    async ([name, step, scenario]) => {
      await using world = await killedAt(step, scenario);
      // Its agent does not ask again, and a successor may use the name without a word: that its Envoy ended must be seen.
      if (step === 'attach.recorded' || name.startsWith('a deregistration')) world.disconnect('subject');
      await world.waitUntilGone('subject');
      await waitUntil(async () => (await world.row('subject')) === undefined, {
        what: 'the row to be released',
        pollMs: 50,
      });
      expect(world.deletions('subject')).toBe(1);
      const { outcome } = await world.waitForDeparture('subject');
      expect(['deleted', 'already gone']).toContain(outcome);
      expect(await nextEpoch(world)).toBeGreaterThan(1);
      expect(world.requests('bystander')).toBe(0);
      expect((await world.command('undo', 'default/subject')).code).toBe(0);
    },
  );

  test.concurrent.for(casesOf(false))(
    'keeps the record of %s after a kill at the step %s, and deletes nothing',
    async ([, step, scenario]) => {
      await using world = await killedAt(step, scenario);
      // With nothing to delete, its departure may have ended by now.
      const known = (await world.row('subject')) ?? (await world.departure('subject'));
      expect(known).toMatchObject({ incarnation: INCARNATION, epoch: 1 });
      expect(await nextEpoch(world)).toBeGreaterThan(1);
      expect(world.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
    },
  );
});

/** It was killed in the middle of it, and runs again on the same store. */
async function killedAt(step: string, { act }: Scenario): Promise<CompanionWorld> {
  await using starting = new AsyncDisposableStack();
  const env: Environment = { CRASH_AT: step };
  const world = starting.use(await crashing(env));
  void act(world).catch(() => {});
  expect(await world.companion.exited()).toEqual({ code: null, signal: 'SIGKILL' });
  env['CRASH_AT'] = undefined;
  await world.companion.start();
  await world.companion.waitUntilReady();
  starting.move();
  return world;
}

async function nextEpoch(world: CompanionWorld): Promise<number> {
  return (await world.agent('subject').attach()).epoch;
}

/** A companion that is killed at the step that `CRASH_AT` names, each time that it is started with it. */
async function crashing(env: Environment): Promise<CompanionWorld> {
  await using starting = new AsyncDisposableStack();
  const world = starting.use(await CompanionWorld.create({ companion: { bin, env } }));
  // Never the last one of the service; and listed from the beginning.
  world.run('bystander');
  await world.companion.start();
  await world.companion.waitUntilReady();
  starting.move();
  return world;
}

type Environment = Record<string, string | undefined>;
