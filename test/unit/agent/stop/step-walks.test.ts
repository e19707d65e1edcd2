import { describe, expect, test } from 'vitest';

import { INITIAL_PHASE, step } from '../../../../agent/stop/step.pure.ts';
import type { Effect, Input, Phase } from '../../../../agent/stop/phases.pure.ts';
import {
  registered,
  CLEAN,
  confirmed,
  deletedAgain,
  deregistered,
  drained,
  envoySeen,
  exited,
  exitedAndKept,
  fired,
  spawned,
  spawnFailed,
  standbyAsked,
  stop,
} from './step-words.ts';

const ALPHABET: readonly Input[] = [
  registered,
  spawned,
  spawnFailed({ code: 127, signal: null }),
  envoySeen,
  stop,
  standbyAsked,
  exited(CLEAN),
  exitedAndKept(CLEAN),
  deregistered('gone'),
  deregistered('kept'),
  deregistered('failed'),
  deregistered('handed over'),
  deletedAgain,
  fired('deregister'),
  fired('settle'),
  fired('drain'),
  fired('kill'),
  fired('give-up'),
  drained,
  confirmed,
];

const STOP_PHASES: ReadonlySet<Phase['name']> = new Set([
  'deregistering',
  'settling',
  'draining',
  'exiting',
  'confirming',
]);

/** The past of a walk, as far as a rule depends on it. */
interface Done {
  readonly drain: number;
  readonly end: number;
  readonly stopsBegun: number;
  /** Deregistrations that a stop has begun. */
  readonly deregistrations: number;
  readonly exits: number;
}

const NOTHING_DONE: Done = { drain: 0, end: 0, stopsBegun: 0, deregistrations: 0, exits: 0 };

type Change = Readonly<{ before: Phase; after: Phase; effects: readonly Effect[] }>;

function stagesOf(effects: readonly Effect[]): readonly string[] {
  return effects.flatMap((effect) => (effect.type === 'tell-child' ? [effect.stage] : []));
}

function countOf(effects: readonly Effect[], type: Effect['type']): number {
  return effects.filter((effect) => effect.type === type).length;
}

function beginsStop({ before, after }: Change): boolean {
  return !STOP_PHASES.has(before.name) && STOP_PHASES.has(after.name);
}

/** There is something to deregister: the agent has put the object, or Envoy was there to connect. */
function isRegistered(phase: Phase): boolean {
  if (phase.name === 'starting') return phase.registered;
  return phase.name === 'running' && (phase.registered || phase.envoy || phase.standby !== 'no');
}

function addUp(done: Done, change: Change): Done {
  const stages = stagesOf(change.effects);
  return {
    drain: done.drain + stages.filter((stage) => stage === 'drain').length,
    end: done.end + stages.filter((stage) => stage === 'end').length,
    stopsBegun: done.stopsBegun + (beginsStop(change) ? 1 : 0),
    deregistrations:
      done.deregistrations + (STOP_PHASES.has(change.after.name) ? countOf(change.effects, 'deregister') : 0),
    exits: done.exits + countOf(change.effects, 'exit'),
  };
}

/** The rules that hold for every order of inputs, possible or not. @returns the broken ones */
function brokenAlways(before: Done, after: Done, change: Change): readonly string[] {
  const { effects } = change;
  const stages = stagesOf(effects);
  const rules: Readonly<Record<string, boolean>> = {
    'stopped is final':
      change.before.name !== 'stopped' || (change.after === change.before && effects.length === 0),
    'a stop begins once': after.stopsBegun <= 1,
    'a stop of a kuma-dp begins with one deregistration':
      !beginsStop(change) || countOf(effects, 'deregister') === 1,
    'a stop deregisters once': after.deregistrations <= 1,
    'kuma-dp is told to drain at most once': after.drain <= 1,
    'kuma-dp is told to end at most once': after.end <= 1,
    'kuma-dp is never told to drain after it was told to end':
      !stages.includes('drain') ||
      (before.end === 0 && (!stages.includes('end') || stages.indexOf('drain') < stages.indexOf('end'))),
    'there is one exit, and only once it is stopped':
      after.exits === (change.after.name === 'stopped' ? 1 : 0),
    'the exit is the last effect': countOf(effects, 'exit') === 0 || effects.at(-1)?.type === 'exit',
  };
  return Object.keys(rules).filter((rule) => rules[rule] !== true);
}

function follow(before: Phase, input: Input): Change {
  const { phase, effects } = step(before, input);
  return { before, after: phase, effects };
}

describe('step(): every sequence of inputs', () => {
  test('of ten, possible or not, keeps the rules', () => {
    let frontier = new Map([['', { phase: INITIAL_PHASE, done: NOTHING_DONE }]]);
    const reached = new Set<string>();
    const broken = new Set<string>();
    for (let depth = 0; depth < 10; depth += 1) {
      const found: typeof frontier = new Map();
      for (const { phase, done } of frontier.values()) {
        for (const input of ALPHABET) {
          const change = follow(phase, input);
          const state = { phase: change.after, done: addUp(done, change) };
          for (const rule of brokenAlways(done, state.done, change))
            broken.add(`${phase.name} + ${input.type}: ${rule}`);
          const key = JSON.stringify(state);
          if (!reached.has(key)) found.set(key, state);
          reached.add(key);
        }
      }
      frontier = found;
    }
    expect(broken).toEqual(new Set());
    expect(reached.size).toBeGreaterThan(100);
  });
});

/** The agent together with what surrounds it: only what can happen does. */
interface World {
  readonly phase: Phase;
  readonly child: 'unborn' | 'alive' | 'dead';
  readonly done: Done;
  readonly killed: boolean;
  /** Deregistrations that have not been answered yet. */
  readonly pending: number;
  /** One was answered after the stop began. */
  readonly answered: boolean;
  /** kuma-dp has waited for it as long as it may. */
  readonly late: boolean;
  readonly armed: readonly string[];
  readonly watching: boolean;
  readonly confirming: boolean;
  readonly asked: number;
}

const BEGINNING: World = {
  phase: INITIAL_PHASE,
  child: 'unborn',
  done: NOTHING_DONE,
  killed: false,
  pending: 0,
  answered: false,
  late: false,
  armed: [],
  watching: false,
  confirming: false,
  asked: 0,
};

/** More requests than this have the effect of the last one. */
const ASKED_AT_MOST = 4;

function isPossible(world: World, input: Input): boolean {
  const { phase, child } = world;
  switch (input.type) {
    case 'registered':
      return phase.name === 'starting' && !phase.registered;
    case 'spawned':
    case 'spawn-failed':
      return phase.name === 'starting' && child === 'unborn';
    case 'envoy-seen':
    case 'child-exited':
      return child === 'alive';
    case 'stop-requested':
      return world.asked < ASKED_AT_MOST;
    case 'standby-requested':
      return world.pending < 2;
    case 'deregistered':
      return world.pending > 0;
    case 'deleted-again':
      return world.answered;
    case 'timer-fired':
      return world.armed.includes(input.timer);
    case 'drained':
      return world.watching;
    case 'confirmed':
      return world.confirming;
  }
}

const CHILD_AFTER: Partial<Record<Input['type'], World['child']>> = {
  spawned: 'alive',
  'child-exited': 'dead',
};

function armedAfter(world: World, input: Input, effects: readonly Effect[]): readonly string[] {
  const left = world.armed.filter((timer) => input.type !== 'timer-fired' || timer !== input.timer);
  const armed = effects.flatMap((effect) => (effect.type === 'arm' ? [effect.timer] : []));
  return [...new Set([...left, ...armed])].toSorted((a, b) => a.localeCompare(b));
}

/** Whether something that an effect begins still runs after this input. */
function goesOn(was: boolean, begins: number, ends: boolean): boolean {
  return begins > 0 || (was && !ends);
}

function advance(world: World, input: Input): { readonly world: World; readonly broken: readonly string[] } {
  const change = follow(world.phase, input);
  const { effects } = change;
  const done = addUp(world.done, change);
  const isAnswer = input.type === 'deregistered';
  const next: World = {
    phase: change.after,
    child: CHILD_AFTER[input.type] ?? world.child,
    done,
    killed: world.killed || stagesOf(effects).includes('kill'),
    pending: world.pending + countOf(effects, 'deregister') - (isAnswer ? 1 : 0),
    answered: world.answered || (isAnswer && STOP_PHASES.has(world.phase.name)),
    late: world.late || (input.type === 'timer-fired' && input.timer === 'deregister'),
    armed: armedAfter(world, input, effects),
    watching: goesOn(world.watching, countOf(effects, 'watch-drain'), input.type === 'drained'),
    confirming: goesOn(world.confirming, countOf(effects, 'confirm'), input.type === 'confirmed'),
    asked: world.asked + (input.type === 'stop-requested' ? 1 : 0),
  };
  const broken = [...brokenAlways(world.done, done, change), ...brokenForChild(world, next, effects)];
  return { world: next, broken: broken.map((rule) => `${JSON.stringify(world)} + ${input.type}: ${rule}`) };
}

/** The rules about kuma-dp, which only hold where the inputs can happen. */
function brokenForChild(world: World, next: World, effects: readonly Effect[]): readonly string[] {
  const stages = stagesOf(effects);
  const stops = stages.includes('drain') || stages.includes('end');
  const rules: Readonly<Record<string, boolean>> = {
    'nothing is told to a kuma-dp that is not there': next.child === 'alive' || stages.length === 0,
    'kuma-dp is not stopped before the deregistration was answered or late, if there is something to deregister':
      !stops || next.answered || next.late || !isRegistered(world.phase),
    'kuma-dp is killed only when its time is up or a stop was requested three times':
      !stages.includes('kill') ||
      next.asked > 2 ||
      (world.armed.includes('kill') && !next.armed.includes('kill')),
    'the agent does not end before kuma-dp': countOf(effects, 'exit') === 0 || next.child !== 'alive',
  };
  return Object.keys(rules).filter((rule) => rules[rule] !== true);
}

function everyWorld(): { readonly worlds: readonly World[]; readonly broken: readonly string[] } {
  const reached = new Map([[JSON.stringify(BEGINNING), BEGINNING]]);
  const open = [BEGINNING];
  const broken: string[] = [];
  for (let world = open.pop(); world !== undefined; world = open.pop()) {
    for (const input of ALPHABET) {
      if (!isPossible(world, input)) continue;
      const next = advance(world, input);
      broken.push(...next.broken);
      const key = JSON.stringify(next.world);
      if (!reached.has(key)) open.push(next.world);
      reached.set(key, next.world);
    }
  }
  return { worlds: [...reached.values()], broken };
}

const TIMERS = ['deregister', 'settle', 'drain', 'kill', 'give-up'] as const;

/**
 * What happens next without further requests: timers fire, a killed child ends, and a control plane that is
 * silent lets each attempt end with its time.
 */
function onlyTimePasses(world: World, obedient: boolean): Input | undefined {
  if (world.confirming) return confirmed;
  if (world.child === 'alive' && (world.killed || (obedient && world.done.end > 0))) return exited(CLEAN);
  const timer = TIMERS.find((each) => world.armed.includes(each));
  if (timer !== undefined) return fired(timer);
  return world.pending > 0 ? deregistered('failed') : undefined;
}

function endOf(world: World, obedient: boolean): Phase['name'] {
  let at = world;
  for (let steps = 0; steps < 12; steps += 1) {
    const input = onlyTimePasses(at, obedient);
    if (at.phase.name === 'stopped' || input === undefined) break;
    at = advance(at, input).world;
  }
  return at.phase.name;
}

describe('step(): every world that can be', () => {
  const { worlds, broken } = everyWorld();
  const stops = worlds.filter(({ phase }) => STOP_PHASES.has(phase.name));

  test('keeps the rules', () => {
    expect(broken).toEqual([]);
    expect(worlds.length).toBeGreaterThan(500);
    expect(new Set(worlds.map(({ phase }) => phase.name))).toEqual(
      new Set(['starting', 'running', ...STOP_PHASES, 'stopped']),
    );
  });

  test.for([
    { what: 'a kuma-dp that obeys', obedient: true },
    { what: 'a kuma-dp that only SIGKILL ends', obedient: false },
  ])('every stop ends by time alone, with $what', ({ obedient }) => {
    expect(stops.filter((world) => endOf(world, obedient) !== 'stopped')).toEqual([]);
    expect(stops.length).toBeGreaterThan(300);
  });

  test('after the end of kuma-dp the agent looks once more, or gives the last attempt a moment, or just ends', () => {
    const ends = { answered: 'confirm', trying: 'arm', failed: 'exit' } as const;
    const seen = new Set<string>();
    for (const { phase, asked } of stops) {
      if ((phase.name !== 'draining' && phase.name !== 'exiting') || asked > 2) continue;
      seen.add(phase.progress);
      const [effect, ...more] = step(phase, exited(CLEAN)).effects;
      expect([effect?.type, more], JSON.stringify(phase)).toEqual([ends[phase.progress], []]);
    }
    expect(seen).toEqual(new Set(Object.keys(ends)));
  });
});
