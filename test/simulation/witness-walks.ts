import type { HistoryFault, History, Step } from './history.ts';
import { Simulation } from './simulation.ts';
import { SERVED } from './witness-world.ts';

/** Histories that differ in one moment only, and the events that some of them must have. */
export interface Walk {
  readonly histories: readonly History[];
  readonly events: readonly string[];
  /** Whether the agent may return at the other replica, while a slow store keeps its record from this one. */
  readonly mayServe?: true;
}

/** Its loss is written down by then. */
const NOTICED_MS = 6_300;
const STORE_SLOW_MS = 40_000;
/** Long enough for everything that a walk brings about. */
const WALK_MS = 60_000;
const REJECTED_AFTER_MS = 12_000;
const REJECTED_MS = 15_000;
const BOTH_LOOK = [
  'replica-0: witness.suspected default/dp-',
  'replica-1: witness.suspected default/dp-',
] as const;

/** A host returns at every moment around its sidelining, and what the companions do takes its time. */
function returns(database: History['database']): readonly History[] {
  return moments({ fromMs: NOTICED_MS, toMs: NOTICED_MS + 10_000, everyMs: 200 }).map((forMs, seed) =>
    historyOf({ seed, database }, [
      { afterMs: 0, fault: { kind: 'host goes dark', host: seed % 2, forMs } },
      { afterMs: NOTICED_MS, fault: { kind: 'store is slow', replica: 0, forMs: STORE_SLOW_MS } },
      { afterMs: 0, fault: { kind: 'store is slow', replica: 1, forMs: STORE_SLOW_MS } },
    ]),
  );
}

/**
 * An agent is killed, and its dataplane lives: both replicas look at it, as one saw the loss and the other one adopts it.
 * Then a firewall rejects connects to it, and at some moment `fault` happens.
 */
function bothLook(fault: (host: number, moment: number) => HistoryFault): readonly History[] {
  return moments({ fromMs: 0, toMs: REJECTED_MS + 5_000, everyMs: 250 }).map((afterMs, seed) => {
    const host = seed % 4;
    return historyOf({ seed, database: 'postgres' }, [
      { afterMs: 0, fault: { kind: 'agent is killed', host } },
      { afterMs: REJECTED_AFTER_MS, fault: { kind: 'firewall rejects', host, forMs: REJECTED_MS } },
      { afterMs, fault: fault(host, seed) },
    ]);
  });
}

export const WALKS: Readonly<Record<string, Walk>> = {
  'a host comes back at any moment around its sidelining, with a slow SQLite': {
    histories: returns('sqlite'),
    events: ['dataplane.sidelined', 'dataplane.restored'],
  },
  'a host comes back at any moment around its sidelining, with a slow PostgreSQL': {
    mayServe: true,
    histories: returns('postgres'),
    events: ['dataplane.sidelined', 'dataplane.restored'],
  },
  'two replicas look at a dataplane, and it is replaced at any moment': {
    histories: bothLook((host) => ({ kind: 'host is replaced', host, owner: 'agent' })),
    events: [...BOTH_LOOK, 'dataplane.sidelined', 'dataplane.restored'],
  },
  'two replicas look at a dataplane, and one of them is killed at any moment': {
    histories: bothLook((_, moment) => ({ kind: 'replica dies', replica: moment % 2, steps: moment % 5 })),
    events: [...BOTH_LOOK, 'dataplane.sidelined', 'dataplane.restored'],
  },
};

/** @returns what is wrong */
export async function judgeWalk({ histories, events, mayServe }: Walk): Promise<readonly string[]> {
  const missing = new Set(events);
  const wrong: string[] = [];
  for (const history of histories) {
    // oxlint-disable-next-line no-await-in-loop -- one history after the other
    const { violations, log } = await new Simulation(history).run();
    for (const each of violations)
      if (mayServe !== true || !each.startsWith(SERVED))
        wrong.push(`${JSON.stringify(history.steps)}: ${each}`);
    for (const event of missing) if (log.some((line) => line.includes(event))) missing.delete(event);
  }
  return [...wrong, ...[...missing].map((event) => `no history had ${event}`)];
}

function moments({ fromMs, toMs, everyMs }: Readonly<Record<'fromMs' | 'toMs' | 'everyMs', number>>) {
  return Array.from({ length: Math.floor((toMs - fromMs) / everyMs) }, (_, at) => fromMs + at * everyMs);
}

function historyOf(of: Pick<History, 'seed' | 'database'>, steps: readonly Step[]): History {
  const last: Step = { afterMs: WALK_MS, fault: { kind: 'operator edits', host: 5 } };
  return { ...of, planes: 1, witnesses: true, steps: [...steps, last] };
}
