import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { World, type Event } from './world.ts';

const HOSTS = 4;
/** As many as take a second or two; set `HISTORIES` for a long night. */
const RUNS = Number(process.env['HISTORIES'] ?? 250);
/** A control plane's own 5 min for ghosts, the sweep's time, a grace and a backoff, and looks in between. */
const CALM_S = 600;

const host = fc.nat(HOSTS - 1);

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('start'), host, owner: fc.constantFrom('cp', 'agent') }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'leave',
        'crash',
        'lose power',
        'kill agent',
        'cut companion',
        'cut control plane',
      ),
      host,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('join'), host }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'control plane crashes',
        'control plane stops',
        'control plane starts',
        'control plane starts',
        'companion stops',
        'companion starts',
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('companion pauses'), seconds: fc.constantFrom(5, 20, 90) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clock jumps'), hours: fc.constantFrom(-1, 1) }) },
) as fc.Arbitrary<Event>;

const history = fc.array(
  fc.tuple(event, fc.oneof(fc.nat(3), fc.integer({ min: 4, max: 20 }), fc.integer({ min: 21, max: 150 }))),
  { minLength: 5, maxLength: 40 },
);

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A fleet that has been up for a while, and then a history. */
function live(steps: readonly (readonly [Event, number])[], seed: number): World {
  const world = new World(HOSTS, randomFrom(seed));
  for (let at = 0; at < HOSTS; at += 1) {
    world.happen({ kind: 'start', host: at, owner: at % 2 === 0 ? 'cp' : 'agent' });
  }
  world.run(60);
  for (const [happened, seconds] of steps) {
    world.happen(happened);
    world.run(seconds);
  }
  return world;
}

const soon = fc.nat(5);
const aWhile = fc.oneof(fc.nat(5), fc.integer({ min: 6, max: 120 }));

/**
 * The rare one: a departure is pending when another run comes under its name and cannot tell the companion; both may
 * be restarted meanwhile, and the clock set.
 */
const takeOver: fc.Arbitrary<readonly (readonly [Event, number])[]> = fc
  .record({
    host,
    down: fc.constantFrom('control plane crashes', 'control plane stops'),
    restarted: fc.boolean(),
    hours: fc.constantFrom(-1, 0, 1),
    again: fc.constantFrom(
      'control plane crashes',
      'control plane stops',
      'companion stops',
      'cut control plane',
      'join',
    ),
    waits: fc.tuple(soon, fc.integer({ min: 36, max: 40 }), aWhile, soon, aWhile, aWhile, aWhile),
  })
  .map(({ host: at, down, restarted, hours, again, waits }) => {
    const [crashed, left, off, started, up, back, rest] = waits;
    const meanwhile: readonly (readonly [Event, number])[] = restarted
      ? [
          [{ kind: 'companion stops' }, 0],
          [{ kind: 'clock jumps', hours }, off],
        ]
      : [];
    return [
      [{ kind: down }, crashed],
      [{ kind: 'leave', host: at }, left],
      [{ kind: 'cut companion', host: at }, 0],
      ...meanwhile,
      [{ kind: 'start', host: at, owner: 'cp' }, started],
      ...(restarted && off % 2 === 0 ? [[{ kind: 'control plane starts' }, up] as const] : []),
      [{ kind: 'companion starts' }, off],
      [{ kind: 'control plane starts' }, back],
      [{ kind: again, host: at }, again === 'cut control plane' ? 10 + started : started],
      [{ kind: 'companion starts' }, 0],
      [{ kind: 'control plane starts' }, rest],
    ];
  });

function expectPromises(steps: readonly (readonly [Event, number])[], seed: number): void {
  const world = live(steps, seed);
  expect(world.violations).toEqual([]);
  world.calm();
  let waitedS = 0;
  for (; waitedS < CALM_S && (waitedS < 60 || world.unfinished().length > 0); waitedS += 10) world.run(10);
  expect({ violations: world.violations, unfinished: world.unfinished() }).toEqual({
    violations: [],
    unfinished: [],
  });
}

/** Found after twenty thousand histories: a control plane ends right after it has put the object of an Envoy that drains. */
const UNRECORDED: readonly (readonly [Event, number])[] = [
  [{ kind: 'cut control plane', host: 2 }, 2],
  [{ kind: 'leave', host: 0 }, 19],
  [{ kind: 'join', host: 2 }, 9],
  [{ kind: 'leave', host: 2 }, 3],
  [{ kind: 'control plane crashes' }, 0],
  [{ kind: 'join', host: 0 }, 21],
  [{ kind: 'start', host: 0, owner: 'cp' }, 21],
  [{ kind: 'leave', host: 0 }, 21],
  [{ kind: 'start', host: 0, owner: 'cp' }, 0],
  [{ kind: 'control plane crashes' }, 21],
];

describe('no living dataplane is deleted, and every departure ends', () => {
  test('whatever happens', () => {
    fc.assert(fc.property(history, fc.nat(), expectPromises), {
      numRuns: RUNS,
      examples: [
        [UNRECORDED.map(([happened, seconds]): [Event, number] => [happened, seconds]), 2_147_467_252],
      ],
    });
  });

  test('a run that starts under a name that is still leaving', () => {
    fc.assert(fc.property(takeOver, fc.nat(), expectPromises), { numRuns: RUNS });
  });
});
