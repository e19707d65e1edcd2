import process from 'node:process';

import { describe, expect, test } from 'vitest';

import type { HistoryFault, History, Step } from './history.ts';
import { Simulation } from './simulation.ts';

const SCENES: Readonly<Record<string, readonly HistoryFault[]>> = {
  'an agent that stops': [{ kind: 'host stops', host: 1 }],
  'an agent that is lost with its dataplane': [{ kind: 'host crashes', host: 1 }],
  'a dataplane that is replaced by another machine': [
    { kind: 'host crashes', host: 0 },
    { kind: 'host starts', host: 3, owner: 'agent' },
  ],
  'a stop and a start of the same host': [
    { kind: 'host stops', host: 2 },
    { kind: 'host starts', host: 2, owner: 'agent' },
  ],
};
/** Long enough for what a scene brings about. */
const SCENE_MS = 30_000;
const MOST_STEPS = 400;
/** Each step takes a simulation of its own: `npm test` takes every fifth, each scene from another one on. */
const EVERY = process.env['HISTORIES'] === undefined ? 5 : 1;

/** The replica that ends at its `steps`th step to the store or a control plane, from the first fault on. */
function historyWith(faults: readonly HistoryFault[], database: History['database'], steps: number): History {
  const scene: readonly Step[] = faults.map((fault, at) => ({ afterMs: at === 0 ? 0 : 8_000, fault }));
  const dies: Step = { afterMs: 0, fault: { kind: 'replica dies', replica: 0, steps } };
  const later: Step = { afterMs: SCENE_MS, fault: { kind: 'host is joined', host: 0 } };
  return { seed: steps, database, planes: 1, steps: [dies, ...scene, later] };
}

describe.for(['sqlite', 'postgres'] as const)(
  'a companion on %s that is killed between any two steps',
  (database) => {
    test.for(Object.entries(SCENES))(
      'during %s deletes nothing living, and leaves nothing',
      async ([name, faults]) => {
        let steps = Object.keys(SCENES).indexOf(name) % EVERY;
        for (let died = true; died && steps < MOST_STEPS; steps += EVERY) {
          const { violations, log } = await new Simulation(historyWith(faults, database, steps)).run();
          expect({ steps, violations }).toEqual({ steps, violations: [] });
          died = log.some((line) => line.endsWith('replica-0 ended'));
        }
        // At least the look, the record and the deletion.
        expect(steps).toBeGreaterThan(20);
      },
    );
  },
);
