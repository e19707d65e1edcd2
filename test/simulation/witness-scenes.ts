import type { HistoryFault, History, Step } from './history.ts';
import { FORBIDDEN } from './sim-reach.ts';
import { Simulation, WARM_UP_MS } from './simulation.ts';

/** What happens, and what has to come of it. Times in ms. */
interface Scene {
  readonly faults: readonly (HistoryFault & { readonly afterMs?: number })[];
  /** Its dataplane is out so long after the first fault; left out: nothing may be sidelined. */
  readonly outWithinMs?: number;
  /** Its object is deleted so long after the first fault. */
  readonly goneWithinMs?: number;
  /** The host that it is about; left out: 0, whose object its control plane owns. Its agent owns that of host 1. */
  readonly host?: number;
  /** It is back so long after this. */
  readonly back?: { readonly atMs: number; readonly withinMs: number };
  readonly closed?: number;
  /** Every agent is attached to one replica: a replica asks only its own. */
  readonly isOneReplica?: true;
}

const LONG_MS = 300_000;
/** Noticed at once, two rounds, and what a busy control plane takes. */
const KILLED_MS = 3_000;
const GRACE_MS = 15_000;
/** Noticed within 6 s. */
const DARK_MS = 10_000;
const UNSEEN_MS = 60_000;
const BACK_AT_MS = 40_000;

const dark = { kind: 'host goes dark', host: 0, forMs: BACK_AT_MS } as const;
const crash: HistoryFault = { kind: 'host crashes', host: 0 };
const killed: HistoryFault = { kind: 'agent is killed', host: 0 };
const cut: HistoryFault = { kind: 'companion is cut off', host: 0 };
const rejected = { kind: 'firewall rejects', host: 0, forMs: 15_000 } as const;

/** Single faults, and a loss beside one fault of a witness. Host 0 is one of four of its service. */
export const SCENES: Readonly<Record<string, Scene>> = {
  'a host is killed': { faults: [crash], outWithinMs: KILLED_MS },
  'a host whose agent owns its object is killed: it goes as soon as without witnesses': {
    faults: [{ kind: 'host crashes', host: 1 }],
    host: 1,
    outWithinMs: KILLED_MS,
    goneWithinMs: GRACE_MS + 1_000,
  },
  'a host goes dark and comes back': {
    faults: [dark],
    outWithinMs: DARK_MS,
    back: { atMs: BACK_AT_MS, withinMs: 4_000 },
  },
  'a machine freezes, and thaws': {
    faults: [{ kind: 'host freezes', host: 0, forMs: BACK_AT_MS }],
    outWithinMs: DARK_MS,
    back: { atMs: BACK_AT_MS, withinMs: 4_000 },
  },
  'a host is killed beside a witness whose connects are redirected': {
    faults: [{ kind: 'connects are redirected', host: 1, forMs: LONG_MS }, crash],
    outWithinMs: KILLED_MS,
  },
  'a host is killed beside a witness that answers late': {
    faults: [{ kind: 'witness is flawed', host: 1, flaw: 'answers late' }, crash],
    outWithinMs: KILLED_MS,
  },
  'a host is killed beside one that no witness may connect to': {
    faults: [crash],
    closed: 1,
    outWithinMs: KILLED_MS,
  },
  'a host is killed and its address is taken': {
    faults: [{ kind: 'address is taken', host: 1 }, crash],
    outWithinMs: KILLED_MS,
  },
  'its agent is killed': { faults: [killed] },
  'its agent is cut off from the companion': { faults: [cut] },
  'its agent freezes': { faults: [{ kind: 'agent freezes', host: 0, forMs: 100_000 }] },
  'the companion does not reach it, and its agent is killed': {
    faults: [{ kind: 'companion cannot look', host: 0, forMs: LONG_MS }, killed],
  },
  'one peer does not reach it, and its agent is killed': {
    faults: [{ kind: 'peer cannot connect', host: 0, from: 1, forMs: LONG_MS }, killed],
  },
  'one client reaches it, another one and the companion do not, and its agent is cut off': {
    isOneReplica: true,
    faults: [
      { kind: 'companion cannot look', host: 0, forMs: LONG_MS },
      { kind: 'peer cannot connect', host: 0, from: 4, forMs: LONG_MS },
      cut,
    ],
  },
  'only its clients may connect, and its agent is killed': {
    faults: [{ kind: 'only clients are let in', host: 0, forMs: LONG_MS }, killed],
  },
  'no witness has ever reached it, and its agent is cut off': { faults: [cut], closed: 0 },
  'new connects to it are dropped, and its agent is killed': {
    faults: [{ kind: 'new connects are dropped', host: 0, forMs: LONG_MS }, killed],
  },
  'two witnesses cannot connect anywhere, and its agent is killed': {
    faults: [
      { kind: 'host cannot connect', host: 1, forMs: LONG_MS },
      { kind: 'host cannot connect', host: 4, forMs: LONG_MS },
      killed,
    ],
  },
  'one witness lies, and its agent is killed': {
    faults: [{ kind: 'witness is flawed', host: 1, flaw: 'says refused' }, killed],
  },
  'all agents are cut off from the companion': {
    faults: [{ kind: 'rack loses the companion', hosts: 6, forMs: 60_000 }],
  },
  'its control plane checks its health': { faults: [{ kind: 'health check fails', host: 0, forMs: 20_000 }] },
  'a replica is restarted, and an agent is slow to attach again while a firewall rejects connects to it': {
    faults: [
      { kind: 'agent attaches slowly', host: 0, forMs: 60_000 },
      { kind: 'firewall rejects', host: 0, forMs: 30_000 },
      { kind: 'replica dies', replica: 0, steps: 0 },
      { kind: 'replica starts', replica: 0, afterMs: 4_000 },
    ],
  },
  'its agent is killed, and a firewall rejects connects to it twice': {
    faults: [killed, rejected, { ...rejected, afterMs: 45_000 }],
    outWithinMs: 10_000,
  },
  'a host goes dark while its control plane refuses writes for longer than evidence counts': {
    faults: [
      { kind: 'writes are refused', replica: 0, forMs: 40_000 },
      { kind: 'writes are refused', replica: 1, forMs: 40_000 },
      { ...dark, forMs: 55_000 },
    ],
    outWithinMs: 45_000,
  },
  'an agent is asked to look at what it must not': {
    faults: FORBIDDEN.map((address) => ({ kind: 'agent is asked to look', host: 0, address, times: 1 })),
  },
  'an agent is asked to look at itself': {
    faults: [{ kind: 'agent is asked to look', host: 0, address: '10.0.0.0', times: 1 }],
  },
  'an agent is asked to look at another host a thousand times': {
    faults: [{ kind: 'agent is asked to look', host: 0, address: '10.0.0.1', times: 1_000 }],
  },
  'the store is lost': { faults: [{ kind: 'store is lost' }] },
  'a replica dies': { faults: [{ kind: 'replica dies', replica: 0, steps: 0 }] },
};

/** Each scene is played with these. */
export const SEEDS = [1, 2, 3, 4, 5, 6];

/** @returns what is wrong */
export async function judgeScene(scene: Scene, seed: number): Promise<readonly string[]> {
  const outcome = await new Simulation(sceneHistory(scene, seed)).run();
  // Afterwards hosts without an agent are ended.
  const out = [...outcome.sidelinedMs]
    .filter(([, [firstMs = 0]]) => firstMs < WARM_UP_MS + UNSEEN_MS)
    .map(([name, times]) => `${name} was sidelined at ${times.join(', ')}`);
  const { outWithinMs, goneWithinMs, back, host = 0 } = scene;
  if (outWithinMs === undefined) return [...outcome.violations, ...out];
  const name = `dp-${host}`;
  const wanted = [
    ['out', outcome.sidelinedMs.get(name)?.[0], outWithinMs],
    ['gone', outcome.deletedMs.get(name), goneWithinMs],
    ['back', outcome.restoredMs.get(name), back && back.atMs + back.withinMs],
  ] as const;
  return [
    ...outcome.violations,
    ...(out.length > 1 ? out : []),
    ...wanted.flatMap(([what, atMs, withinMs = Infinity]) =>
      withinMs === Infinity || isWithin(atMs, WARM_UP_MS + withinMs)
        ? []
        : [`${name} was ${what} at ${atMs ?? 'no time'}`],
    ),
  ];
}

function isWithin(atMs: number | undefined, latestMs: number): boolean {
  return atMs !== undefined && atMs <= latestMs;
}

function sceneHistory({ faults, closed, isOneReplica }: Scene, seed: number): History {
  const steps: Step[] = faults.map(({ afterMs = 0, ...fault }) => ({
    afterMs,
    fault: fault as HistoryFault,
  }));
  // Nothing more happens until what is looked for has happened.
  steps.push({ afterMs: UNSEEN_MS, fault: { kind: 'operator edits', host: 5 } });
  const database = isOneReplica === true || seed % 2 === 0 ? 'sqlite' : 'postgres';
  const common = { seed, database, planes: 1, steps, witnesses: true } as const;
  return closed === undefined ? common : { ...common, closed };
}
