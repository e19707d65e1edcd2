import { describe, expect, test } from 'vitest';

import type { HistoryFault, History, Step } from './history.ts';
import { Simulation } from './simulation.ts';

/** A fault of a dataplane, and when the replica begins to count the steps after which it ends. */
interface Scene {
  readonly fault: HistoryFault;
  readonly countsAtMs: number;
  /** With PostgreSQL replica 0 begins the work in this history, and replica 1 finishes it. */
  readonly seed: number;
  readonly event: string;
}

const DARK_MS = 14_000;
const SCENES: Readonly<Record<string, Scene>> = {
  'a host that was killed is sidelined': {
    fault: { kind: 'host crashes', host: 0 },
    countsAtMs: 0,
    seed: 4,
    event: 'dataplane.sidelined default/dp-0',
  },
  'a host that went dark is restored': {
    fault: { kind: 'host goes dark', host: 1, forMs: DARK_MS },
    countsAtMs: DARK_MS,
    seed: 3,
    event: 'dataplane.restored default/dp-1',
  },
};
/** Long enough for another replica to take over. */
const SCENE_MS = 50_000;
const MOST_STEPS = 100;

function historyWith(
  { fault, countsAtMs, seed }: Scene,
  database: History['database'],
  steps: number,
): History {
  const happens: Step = { afterMs: 0, fault };
  const dies: Step = { afterMs: countsAtMs, fault: { kind: 'replica dies', replica: 0, steps } };
  const later: Step = { afterMs: SCENE_MS, fault: { kind: 'host is joined', host: 0 } };
  const both = countsAtMs === 0 ? [dies, happens] : [happens, dies];
  return { seed, database, planes: 1, witnesses: true, steps: [...both, later] };
}

describe.for(['sqlite', 'postgres'] as const)(
  'a companion on %s that is killed between any two steps',
  (database) => {
    test.for(Object.entries(SCENES))(
      'while %s leaves nothing out that serves, and no record',
      async ([, scene]) => {
        const doers = new Set<string | undefined>();
        for (let steps = 0; steps < MOST_STEPS; steps += 1) {
          const { violations, log } = await new Simulation(historyWith(scene, database, steps)).run();
          expect({ steps, violations }).toEqual({ steps, violations: [] });
          doers.add(/replica-\d/.exec(log.find((line) => line.includes(scene.event)) ?? '')?.[0]);
        }
        const all = database === 'postgres' ? ['replica-0', 'replica-1'] : ['replica-0'];
        expect([...doers]).toEqual(expect.arrayContaining(all));
      },
    );
  },
);
