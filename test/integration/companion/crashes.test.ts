import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import type { CrashPoint } from '../../../control-plane/crash-points.ts';
import { INCARNATION_LABEL } from '../../../kuma/dataplane.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
/** The build that ends where it is told to. */
const CRASHING_BIN =
  process.env['KUMA_DEREGISTRAR_CRASHING_BIN'] ?? join(ROOT, 'dist-crash-points', 'bin', 'kuma-deregistrar');

/** What a companion does for one dataplane, `subject`, that takes it past crash points. */
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
    act: (world) => world.agent('subject', { incarnation: 'the-incarnation' }).attach(),
    steps: ['attach.recorded'],
    leaves: false,
  },
  'a registration': {
    act: async (world) => {
      const agent = world.owner('subject', { incarnation: 'the-incarnation' });
      await agent.attach();
      await agent.register(false);
    },
    steps: ['attach.recorded', 'register.put'],
    leaves: false,
  },
  'a deregistration': {
    act: async (world) => (await world.running('subject', { incarnation: 'the-incarnation' })).deregister(),
    steps: ['attach.recorded', 'leave.recorded', ...DELETION],
    leaves: true,
  },
  'a fallback': {
    act: async (world) => {
      (await world.running('subject', { incarnation: 'the-incarnation' })).vanish();
      world.disconnect('subject');
      await world.waitUntilGone('subject');
      await world.waitForDeparture('subject');
    },
    steps: ['attach.recorded', 'attempt.read', ...DELETION],
    leaves: true,
  },
};

const CASES = Object.entries(SCENARIOS).flatMap(([name, { steps }]) =>
  steps.map((step, at) => {
    const nth = steps.slice(0, at + 1).filter((each) => each === step).length;
    return [name, nth === 1 ? step : `${step}:${nth}`] as const;
  }),
);

beforeAll(async () => {
  if (existsSync(CRASHING_BIN)) return;
  const script = join(ROOT, 'scripts', 'build.ts');
  await using build = new ManagedProcess({
    command: process.execPath,
    argv: [script, '--crash-points'],
    cwd: ROOT,
  });
  expect((await build.exited).code, build.stderr).toBe(0);
});

describe('the steps', () => {
  test.concurrent.for(Object.entries(SCENARIOS))(
    'of %s are the ones at which it is killed below',
    async ([, scenario], { expect }) => {
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

describe('killed at each step', () => {
  test.concurrent.for(CASES)(
    'of %s, at %s: what was promised is kept, and nothing else is done',
    async ([name, step], { expect }) => {
      const scenario = SCENARIOS[name];
      if (scenario === undefined) throw new Error(`No such scenario: ${name}`);
      const env: Environment = { CRASH_AT: step };
      await using world = await crashing(env);
      const bystander = world.agent('bystander');
      void scenario.act(world).catch(() => {});
      expect(await world.companion.exited()).toEqual({ code: null, signal: 'SIGKILL' });
      const knows = step !== 'attach.recorded' && scenario.leaves;

      env['CRASH_AT'] = undefined;
      await world.companion.start();
      await world.companion.waitUntilReady();
      const before = (await world.status()).dataplanes.find((each) => each.dataplane?.name === 'subject');
      if (scenario.leaves) {
        if (!knows) world.disconnect('subject');
        await world.waitUntilGone('subject');
        await waitUntil(async () => (await world.row('subject')) === undefined, {
          what: 'the row to be released',
          pollMs: 50,
        });
        expect(world.deletions('subject')).toBe(1);
        const departure = await world.waitForDeparture('subject');
        expect(['deleted', 'already gone']).toContain(departure.outcome);
        expect((await world.command('undo', 'default/subject')).code).toBe(0);
      } else {
        // With nothing to delete, its departure may have ended by now.
        const known = before ?? (await world.departure('subject'));
        expect(known).toMatchObject({ incarnation: 'the-incarnation', epoch: 1 });
        expect(world.deletions('subject')).toBe(0);
      }
      await bystander.attach();
      const next = await world.agent('subject').attach();
      expect(next.epoch).toBeGreaterThan(1);
      expect(world.requests('bystander')).toBe(0);
      if (name === 'a registration' && step === 'register.put')
        expect(world.find('subject')?.labels).toMatchObject({ [INCARNATION_LABEL]: 'the-incarnation' });
    },
  );
});

/** A companion that is killed at the step that `CRASH_AT` names, each time that it is started with it. */
async function crashing(env: Environment): Promise<CompanionWorld> {
  await using starting = new AsyncDisposableStack();
  const world = starting.use(await CompanionWorld.create({ companion: { bin: CRASHING_BIN, env } }));
  // Never the last one of the service; and listed from the beginning.
  world.run('bystander');
  await world.companion.start();
  await world.companion.waitUntilReady();
  starting.move();
  return world;
}

type Environment = Record<string, string | undefined>;
