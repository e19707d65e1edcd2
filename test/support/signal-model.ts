import { type AgentExit } from './agent-process.ts';
import { type ChildPlan } from './signal-child.ts';
import { type PairwiseRow } from './signal-pairwise.ts';

export const SIGNAL_AXES = {
  signal: ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'],
  /**
   * When the signals come. `exec`: as soon as the agent's process exists. `starting`: kuma-dp was spawned. `settling` …
   * `ended`: a SIGTERM went before them.
   */
  phase: [
    'exec',
    'starting',
    'running',
    'deregistering',
    'settling',
    'draining',
    'exiting',
    'confirming',
    'ended',
  ],
  count: ['once', 'twice', 'twice-at-once', 'three-times', 'storm'],
  target: ['agent', 'group'],
  child: ['obedient', 'kuma', 'slow', 'ignores', 'exits-7', 'dies-of-SEGV', 'forks'],
} as const;

export type SignalRow = PairwiseRow<typeof SIGNAL_AXES>;

export const CHILD_PLANS: Readonly<Record<SignalRow['child'], ChildPlan>> = {
  obedient: { contract: 'obedient', envoy: 'hidden' },
  kuma: { contract: 'kuma', envoy: 'admin', drainMs: 30_000 },
  slow: { contract: 'obedient', envoy: 'admin', exitDelayMs: 400, exit: { code: 0 } },
  ignores: { contract: 'ignores', envoy: 'admin' },
  'exits-7': { contract: 'obedient', envoy: 'hidden', exit: { code: 7 } },
  'dies-of-SEGV': { contract: 'kuma', envoy: 'admin', drainMs: 30_000, exit: { signal: 'SIGSEGV' } },
  forks: { contract: 'obedient', envoy: 'hidden', forks: 'grandchild' },
};

const STOP_SIGNALS: ReadonlySet<string> = new Set(['SIGTERM', 'SIGINT', 'SIGHUP']);
/** How many signals may arrive so close together that the kernel merges them. */
const MOST: Readonly<Record<SignalRow['count'], number>> = {
  once: 1,
  twice: 2,
  'twice-at-once': 2,
  'three-times': 3,
  storm: 100,
};

/** Whether the signals of the row ask the agent to stop. */
export function isStop(row: Pick<SignalRow, 'signal'>): boolean {
  return STOP_SIGNALS.has(row.signal);
}

/** Whether the row begins with a SIGTERM of its own, so that its signals find a stop under way. */
export function stopsBefore({ phase }: Pick<SignalRow, 'phase'>): boolean {
  return phase !== 'exec' && phase !== 'starting' && phase !== 'running';
}

/** Whether a SIGTERM has to follow, since nothing else in the row ends the agent. */
export function needsEnd(row: SignalRow): boolean {
  return !isStop(row) && !stopsBefore(row);
}

export interface Prediction {
  /** Every way in which the agent may end: merged and late signals leave several. */
  readonly exits: readonly AgentExit[];
  /** How many SIGTERM the child may have seen at most. */
  readonly mostTerms: number;
  /** Whether the object has to be gone. */
  readonly gone: boolean;
  /** Whether there has to be a report: without one the agent died before it could catch anything. */
  readonly reported: boolean;
}

/** The behaviour of a correct agent for one row of the matrix. */
export function predict(row: SignalRow): Prediction {
  const { signal, phase, target, child } = row;
  const most = MOST[row.count];
  const asked = (isStop(row) ? most : 0) + (stopsBefore(row) || needsEnd(row) ? 1 : 0);
  const isEarly = phase === 'exec' || phase === 'starting';
  const exits = [naturalExit(child)];
  if (asked >= 3) exits.push(died('SIGKILL'));
  // Before it has installed its handlers, any signal ends a process: the one that was sent, or the one that the agent
  // forwarded.
  if (isEarly) exits.push(died(signal), died('SIGTERM'));
  exits.push(...exitsByForwarding(row, asked));
  return {
    exits,
    mostTerms: 2 + (target === 'group' && signal === 'SIGTERM' ? most : 0),
    gone: !isEarly,
    reported: phase !== 'exec',
  };
}

/** What the row's own signals do to the child if they reach it, from the group or passed on by the agent. */
function exitsByForwarding({ signal, target, child }: SignalRow, asked: number): readonly AgentExit[] {
  const isKuma = CHILD_PLANS[child].contract === 'kuma';
  const reaches = target === 'group' || !STOP_SIGNALS.has(signal);
  if (!reaches) return [];
  if (!isKuma) return [];
  if (signal === 'SIGQUIT') return [coded(2)];
  if (signal === 'SIGHUP') return [died('SIGHUP')];
  // Its third signal is abrupt: two from the group and one from the agent are three.
  return asked >= 2 ? [coded(1)] : [];
}

function naturalExit(child: SignalRow['child']): AgentExit {
  const plan = CHILD_PLANS[child];
  // Nothing else ends it: the agent does, at the end of the budget.
  if (plan.contract === 'ignores') return died('SIGKILL');
  const { exit = { code: 0 } } = plan;
  return 'code' in exit ? coded(exit.code) : died(exit.signal);
}

function coded(code: number): AgentExit {
  return { code, signal: null };
}

function died(signal: NodeJS.Signals): AgentExit {
  return { code: null, signal };
}
