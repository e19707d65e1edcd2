import type { HistoryFault, History } from './history.ts';

type Known = Omit<History, 'steps'> & { readonly steps: readonly (readonly [number, HistoryFault])[] };

/** Histories that once broke an invariant, as small as they were found. */
const KNOWN: Readonly<Record<string, Known>> = {
  'a Deregister that a paused replica reads after its caller gave up and its successor serves': {
    seed: 10_080,
    database: 'postgres',
    planes: 2,
    steps: [
      [0, { kind: 'replica stops', replica: 0 }],
      [0, { kind: 'replica pauses', replica: 1, forMs: 60_000, machine: false }],
      [1_000, { kind: 'host stops', host: 1 }],
      [53_863, { kind: 'host starts', host: 1, owner: 'agent' }],
    ],
  },
  'a departure that was in memory when its replica was paused, and whose successor serves': {
    seed: 1_777,
    database: 'sqlite',
    planes: 1,
    steps: [
      [0, { kind: 'control plane crashes', plane: 0 }],
      [0, { kind: 'database goes back', byMs: 30_000 }],
      [0, { kind: 'host stops', host: 0 }],
      [1_000, { kind: 'replica pauses', replica: 0, forMs: 60_000, machine: false }],
      [16_095, { kind: 'host starts', host: 0, owner: 'cp' }],
    ],
  },
  'an Envoy that comes back 28 s after its control plane was stopped and started, while its agent is cut off':
    {
      seed: 20_613,
      database: 'sqlite',
      planes: 1,
      steps: [
        [0, { kind: 'control plane stops', plane: 0 }],
        [408, { kind: 'companion is cut off', host: 1 }],
        [0, { kind: 'control plane starts', plane: 0 }],
        [64_310, { kind: 'replica stops', replica: 0 }],
      ],
    },
  'a departure whose replica ended, and whose successor started while no companion ran': {
    seed: 106_373,
    database: 'postgres',
    planes: 2,
    steps: [
      [0, { kind: 'control planes are slow', replica: 1, forMs: 10_000 }],
      [0, { kind: 'replica dies', replica: 0, steps: 4 }],
      [0, { kind: 'host stops', host: 0 }],
      [1_000, { kind: 'replica pauses', replica: 1, forMs: 60_000, machine: true }],
      [0, { kind: 'replica stops', replica: 1 }],
      [168_523, { kind: 'host starts', host: 0, owner: 'agent' }],
      [10_000, { kind: 'replica starts', replica: 0 }],
    ],
  },
  'an agent that waits for its name is asked about again while another call acts on the name': {
    seed: 308_621,
    database: 'sqlite',
    planes: 1,
    steps: [
      [0, { kind: 'control planes are slow', replica: 0, forMs: 40_000 }],
      [38, { kind: 'host falls silent', host: 1, forMs: 60_000 }],
      [0, { kind: 'host starts', host: 1, owner: 'agent' }],
      [47_235, { kind: 'replica starts', replica: 0 }],
    ],
  },
  'a companion that is paused while control planes are slow to answer': {
    seed: 313_072,
    database: 'sqlite',
    planes: 2,
    steps: [
      [0, { kind: 'control plane stops', plane: 1 }],
      [53_074, { kind: 'control planes are slow', replica: 0, forMs: 2_000 }],
      [2_035, { kind: 'replica pauses', replica: 0, forMs: 60_000, machine: false }],
      [63_027, { kind: 'replica starts', replica: 0 }],
    ],
  },
  'an Envoy that comes back late after a crash of its control plane, and whose agent was killed': {
    seed: 0,
    database: 'postgres',
    planes: 1,
    steps: [
      [0, { kind: 'agent is killed', host: 1 }],
      [20_000, { kind: 'control plane crashes', plane: 0 }],
      [20_000, { kind: 'control plane starts', plane: 0 }],
      [60_000, { kind: 'host is joined', host: 0 }],
    ],
  },
  'a host that is replaced at another control plane just before the first one deletes the old object': {
    seed: 8_684,
    database: 'postgres',
    planes: 2,
    steps: [[10_000, { kind: 'host is replaced', host: 0, owner: 'cp' }]],
  },
  'one of two dataplanes of a service leaves in the moment in which the other one is lost': {
    seed: 2_147,
    database: 'postgres',
    planes: 1,
    witnesses: true,
    steps: [
      [0, { kind: 'host stops', host: 5 }],
      [0, { kind: 'host crashes', host: 4 }],
    ],
  },
  'a store that is lost while a dataplane is sidelined that its control plane owns': {
    seed: 244,
    database: 'sqlite',
    planes: 1,
    witnesses: true,
    steps: [
      [0, { kind: 'host goes dark', host: 0, forMs: 20_000 }],
      [12_000, { kind: 'store is lost' }],
    ],
  },
};

export const KNOWN_HISTORIES: readonly (readonly [name: string, history: History])[] = Object.entries(
  KNOWN,
).map(([name, { steps, ...shape }]) => [
  name,
  { ...shape, steps: steps.map(([afterMs, fault]) => ({ afterMs, fault })) },
]);
