import { seededRandom } from '../support/replicas/random.ts';
import { Draw } from './draw.ts';
import type { WitnessFault } from './witness-history.ts';

/** What happens, and how long after the one before. Hosts, control planes and replicas are numbers. */
export interface Step {
  readonly afterMs: number;
  readonly fault: HistoryFault;
}

export type HistoryFault =
  | {
      readonly kind: 'host starts' | 'host is replaced';
      readonly host: number;
      readonly owner: 'cp' | 'agent';
    }
  | { readonly kind: 'host stops' | 'host crashes' | 'agent is killed'; readonly host: number }
  | { readonly kind: 'host falls silent' | 'host drains'; readonly host: number; readonly forMs: number }
  | {
      readonly kind:
        | 'companion is cut off'
        | 'control planes are cut off'
        | 'host is cut off'
        | 'host is joined';
      readonly host: number;
    }
  | {
      readonly kind: 'control plane crashes' | 'control plane stops' | 'control plane starts';
      readonly plane: number;
    }
  | { readonly kind: 'control plane clock'; readonly plane: number; readonly byMs: number }
  | { readonly kind: 'replica starts' | 'replica stops'; readonly replica: number }
  | { readonly kind: 'replica dies'; readonly replica: number; readonly steps: number }
  | {
      readonly kind: 'replica pauses';
      readonly replica: number;
      readonly forMs: number;
      readonly machine: boolean;
    }
  | { readonly kind: 'replica clock'; readonly replica: number; readonly byMs: number }
  | { readonly kind: Wire; readonly replica: number; readonly forMs: number }
  | { readonly kind: 'database clock'; readonly byMs: number }
  | { readonly kind: 'database goes back'; readonly byMs: number }
  | WitnessFault;

/** What can be wrong with the ways of a replica. A lost answer follows a request that was carried out. */
export type Wire =
  | 'store is cut off'
  | 'store is slow'
  | 'control planes are out of reach'
  | 'control planes are slow'
  | 'answers are lost'
  | 'writes are refused';

/** One seed, one history. */
export interface History {
  readonly seed: number;
  readonly database: 'sqlite' | 'postgres';
  readonly planes: number;
  readonly steps: readonly Step[];
  /** The control planes' setting; left out: they do not say it. */
  readonly deregistrationDelayMs?: number;
  /** Whether the companions have lost hosts looked at by their peers: then six hosts of two services, each of one name. */
  readonly witnesses?: true;
  /** A host that no witness has ever reached, although its clients do. */
  readonly closed?: number;
}

/** Names; the last host is another machine for the first name. */
export const NAMES = 3;
export const HOSTS = NAMES + 1;
const HOUR_MS = 3_600_000;
const MOST_STEPS = 14;

export function historyOf(seed: number): History {
  const draw = new Draw(seededRandom(seed));
  const database = draw.of(['sqlite', 'postgres'] as const);
  const shape = { planes: draw.of([1, 1, 2]), replicas: replicasOf(database), hosts: HOSTS };
  const steps = Array.from({ length: 3 + draw.below(MOST_STEPS - 2) }, () => ({
    afterMs: draw.of([draw.below(2_000), draw.below(20_000), draw.below(60_000)]),
    fault: drawFault(draw, shape),
  }));
  return { seed, database, planes: shape.planes, steps, ...drawDelay(seed) };
}

/** Kuma's default is 10 s. Drawn by itself, so that the faults of a seed stay as they are. */
export function drawDelay(seed: number): Pick<History, 'deregistrationDelayMs'> {
  const draw = new Draw(seededRandom(seed ^ 0x2b_5a_d1_c7));
  if (draw.chance(0.2)) return {};
  return { deregistrationDelayMs: draw.of([0, 1_000, 6_000, 10_000, 10_000, 30_000]) };
}

/** One process has a SQLite file; several share a PostgreSQL. */
export function replicasOf(database: History['database']): number {
  return database === 'sqlite' ? 1 : 2;
}

interface Shape {
  readonly hosts: number;
  readonly planes: number;
  readonly replicas: number;
}

export function drawFault(draw: Draw, shape: Shape): HistoryFault {
  const kinds = [ofHost, ofHost, ofHost, ofPlane, ofReplica, ofReplica, ofWire, ofDatabase];
  return draw.of(kinds)(draw, shape);
}

function ofHost(draw: Draw, { hosts }: Shape): HistoryFault {
  const host = draw.below(hosts);
  const owner = draw.of(['cp', 'agent'] as const);
  return draw.of<HistoryFault>([
    { kind: 'host starts', host, owner },
    { kind: 'host starts', host, owner },
    { kind: 'host is replaced', host, owner },
    { kind: 'host stops', host },
    { kind: 'host drains', host, forMs: draw.of([30_000, 120_000]) },
    { kind: 'host crashes', host },
    { kind: 'host falls silent', host, forMs: draw.of([14_000, 60_000, 150_000]) },
    { kind: 'agent is killed', host },
    { kind: 'companion is cut off', host },
    { kind: 'control planes are cut off', host },
    { kind: 'host is cut off', host },
    { kind: 'host is joined', host },
  ]);
}

function ofPlane(draw: Draw, { planes }: Shape): HistoryFault {
  const plane = draw.below(planes);
  return draw.of<HistoryFault>([
    { kind: 'control plane crashes', plane },
    { kind: 'control plane stops', plane },
    { kind: 'control plane starts', plane },
    { kind: 'control plane starts', plane },
    { kind: 'control plane clock', plane, byMs: draw.of([-HOUR_MS, -10_000, 10_000, HOUR_MS]) },
  ]);
}

function ofReplica(draw: Draw, { replicas }: Shape): HistoryFault {
  const replica = draw.below(replicas);
  return draw.of<HistoryFault>([
    { kind: 'replica starts', replica },
    { kind: 'replica starts', replica },
    { kind: 'replica stops', replica },
    { kind: 'replica dies', replica, steps: draw.below(40) },
    { kind: 'replica pauses', replica, forMs: draw.of([3_000, 9_000, 60_000]), machine: draw.chance(0.3) },
    { kind: 'replica clock', replica, byMs: draw.of([-HOUR_MS, -10_000, 10_000, HOUR_MS]) },
  ]);
}

function ofWire(draw: Draw, { replicas }: Shape): HistoryFault {
  const kind = draw.of<Wire>([
    'store is cut off',
    'store is slow',
    'control planes are out of reach',
    'control planes are slow',
    'answers are lost',
    'writes are refused',
  ]);
  return { kind, replica: draw.below(replicas), forMs: draw.of([2_000, 10_000, 40_000]) };
}

function ofDatabase(draw: Draw): HistoryFault {
  return draw.of<HistoryFault>([
    { kind: 'database clock', byMs: draw.of([-HOUR_MS, -10_000, 10_000, HOUR_MS]) },
    { kind: 'database goes back', byMs: draw.of([1_000, 1_000, 30_000]) },
  ]);
}
