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
  'a host asks to attach in the moment in which its deletion is due, at a companion that stops': {
    seed: 10_026_564,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 1_000,
    steps: [
      [14_031, { kind: 'host is cut off', host: 1 }],
      [18_144, { kind: 'replica stops', replica: 0 }],
    ],
  },
  'a host asks to attach while its deletion is due and the store is slow': {
    seed: 10_024_650,
    database: 'sqlite',
    planes: 1,
    deregistrationDelayMs: 6_000,
    steps: [
      [0, { kind: 'replica stops', replica: 0 }],
      [10_000, { kind: 'control planes are slow', replica: 0, forMs: 40_000 }],
      [12_232, { kind: 'host is cut off', host: 1 }],
      [4_520, { kind: 'replica starts', replica: 0 }],
      [24_800, { kind: 'store is slow', replica: 0, forMs: 40_000 }],
      [26_702, { kind: 'host is cut off', host: 0 }],
    ],
  },
  'a host that was cut off asks to attach while its store is slow': {
    seed: 10_515_596,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 1_000,
    steps: [
      [4_570, { kind: 'host drains', host: 1, forMs: 120_000 }],
      [4_020, { kind: 'host is replaced', host: 0, owner: 'agent' }],
      [8_513, { kind: 'store is slow', replica: 0, forMs: 40_000 }],
      [9_016, { kind: 'host is cut off', host: 0 }],
      [21_489, { kind: 'host is joined', host: 0 }],
    ],
  },
  'a host is replaced while a list is being read, and its object is deleted with that of the run before': {
    seed: 10_513_816,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 1_000,
    steps: [
      [10_000, { kind: 'control planes are slow', replica: 0, forMs: 40_000 }],
      [1_000, { kind: 'host is replaced', host: 0, owner: 'cp' }],
    ],
  },
  'a store loses a record whose object its control plane deletes': {
    seed: 10_515_369,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 1_000,
    steps: [
      [0, { kind: 'host is replaced', host: 0, owner: 'cp' }],
      [364, { kind: 'database goes back', byMs: 30_000 }],
    ],
  },
  'a host asks to attach after its control plane and its companion were away': {
    seed: 10_045_400,
    database: 'sqlite',
    planes: 1,
    deregistrationDelayMs: 0,
    steps: [
      [0, { kind: 'host is cut off', host: 2 }],
      [8_066, { kind: 'control plane crashes', plane: 0 }],
      [10_000, { kind: 'control plane starts', plane: 0 }],
      [0, { kind: 'replica pauses', replica: 0, forMs: 60_000, machine: false }],
      [104_747, { kind: 'store is slow', replica: 0, forMs: 10_000 }],
    ],
  },
  'the other dataplane of a service has crashed, and is deleted while this one is sidelined': {
    seed: 10_598_558,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 1_000,
    witnesses: true,
    steps: [
      [0, { kind: 'host freezes', host: 4, forMs: 20_000 }],
      [985, { kind: 'host crashes', host: 5 }],
      [10_000, { kind: 'new connects are dropped', host: 3, forMs: 200_000 }],
    ],
  },
  'a host asks one replica to attach while the store is away, and its deletion is due at the other': {
    seed: 20_008_176,
    database: 'postgres',
    planes: 2,
    deregistrationDelayMs: 0,
    steps: [
      [0, { kind: 'host is cut off', host: 1 }],
      [0, { kind: 'control plane stops', plane: 0 }],
      [16_983, { kind: 'database goes back', byMs: 1_000 }],
      [1_455, { kind: 'control plane crashes', plane: 1 }],
    ],
  },
  'a host is lost while the clock of its database is set back by an hour': {
    seed: 288,
    database: 'postgres',
    planes: 2,
    steps: [
      [0, { kind: 'database clock', byMs: -3_600_000 }],
      [0, { kind: 'agent is killed', host: 1 }],
    ],
  },
  'a control plane crashes and is back before the companion looks, and a deletion is due': {
    seed: 50_001_420,
    database: 'postgres',
    planes: 1,
    deregistrationDelayMs: 1_000,
    steps: [
      [33_737, { kind: 'replica stops', replica: 1 }],
      [23_582, { kind: 'companion is cut off', host: 0 }],
      [3_845, { kind: 'host is cut off', host: 1 }],
      [19_313, { kind: 'control plane crashes', plane: 0 }],
    ],
  },
  'a new run waits long for its name, and its object is deleted with that of the run before': {
    seed: 80_042_925,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 10_000,
    steps: [
      [0, { kind: 'control plane crashes', plane: 0 }],
      [39_838, { kind: 'host falls silent', host: 0, forMs: 60_000 }],
      [1_000, { kind: 'host starts', host: 0, owner: 'cp' }],
      [10_000, { kind: 'control plane crashes', plane: 0 }],
    ],
  },
  'a refused sidelining is tried again when the other dataplane of the service is no longer ready': {
    seed: 80_520_095,
    database: 'sqlite',
    planes: 1,
    deregistrationDelayMs: 10_000,
    witnesses: true,
    steps: [
      [0, { kind: 'writes are refused', replica: 0, forMs: 40_000 }],
      [0, { kind: 'host falls silent', host: 5, forMs: 150_000 }],
      [10_000, { kind: 'health check fails', host: 4, forMs: 3_000 }],
    ],
  },
  'a sidelining that the control plane did not answer lands after the deletion': {
    seed: 80_595_631,
    database: 'sqlite',
    planes: 1,
    deregistrationDelayMs: 0,
    witnesses: true,
    steps: [
      [0, { kind: 'host crashes', host: 1 }],
      [336, { kind: 'control planes are slow', replica: 0, forMs: 10_000 }],
      [194, { kind: 'host crashes', host: 0 }],
    ],
  },
  'a sidelining that the control plane did not answer lands after its own deletion of the object': {
    seed: 122_034_510,
    database: 'sqlite',
    planes: 2,
    deregistrationDelayMs: 10_000,
    witnesses: true,
    steps: [
      [536, { kind: 'host crashes', host: 0 }],
      [351, { kind: 'control planes are slow', replica: 0, forMs: 10_000 }],
      [10_000, { kind: 'replica starts', replica: 0 }],
    ],
  },
};

export const KNOWN_HISTORIES: readonly (readonly [name: string, history: History])[] = Object.entries(
  KNOWN,
).map(([name, { steps, ...shape }]) => [
  name,
  { ...shape, steps: steps.map(([afterMs, fault]) => ({ afterMs, fault })) },
]);
