import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { World, type Event } from './world.ts';

const HOSTS = 4;
const RUNS = 300;
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

describe('whatever happens', () => {
  test('nobody who lives is deleted, and every departure ends', () => {
    fc.assert(
      fc.property(history, fc.nat(), (steps, seed) => {
        const world = live(steps, seed);
        expect(world.violations).toEqual([]);
        world.calm();
        let waitedS = 0;
        for (; waitedS < CALM_S && (waitedS < 60 || world.unfinished().length > 0); waitedS += 10)
          world.run(10);
        expect({ violations: world.violations, unfinished: world.unfinished() }).toEqual({
          violations: [],
          unfinished: [],
        });
      }),
      { numRuns: Number(process.env['HISTORIES'] ?? RUNS) },
    );
  });
});
