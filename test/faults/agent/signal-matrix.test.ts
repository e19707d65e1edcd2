import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type AgentProcess } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { type ChildPlan } from '../../support/signal-child.ts';
import {
  CHILD_PLANS,
  isStop,
  needsEnd,
  predict,
  SIGNAL_AXES,
  type SignalRow,
  stopsBefore,
} from '../../support/signal-model.ts';
import { pairwise, randomRow, seededRandom } from '../../support/signal-pairwise.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** A row that failed comes again with the seed that is in the title of the suite. */
const SEED = Number(process.env['SIGNAL_MATRIX_SEED'] ?? randomInt(1_000_000));
const RANDOM_ROWS = Number(process.env['SIGNAL_MATRIX_ROWS'] ?? 8);

const BUDGET_MS = 3_000;
const REPORT_MARGIN_MS = 250;
/** For a machine of two cores with other work; the margin above holds for the times that the agent itself reports. */
const NOISE_MS = 4_000;

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

/** Cells of the matrix that always run. */
const MUST: readonly SignalRow[] = [
  { signal: 'SIGTERM', phase: 'exec', count: 'once', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'exec', count: 'storm', target: 'group', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'starting', count: 'once', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'once', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'once', target: 'group', child: 'kuma' },
  { signal: 'SIGINT', phase: 'running', count: 'once', target: 'group', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'storm', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'storm', target: 'group', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'twice', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'twice-at-once', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'running', count: 'three-times', target: 'agent', child: 'ignores' },
  { signal: 'SIGTERM', phase: 'running', count: 'once', target: 'agent', child: 'ignores' },
  { signal: 'SIGTERM', phase: 'running', count: 'once', target: 'agent', child: 'dies-of-SEGV' },
  { signal: 'SIGTERM', phase: 'deregistering', count: 'twice', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'confirming', count: 'storm', target: 'agent', child: 'kuma' },
  { signal: 'SIGTERM', phase: 'ended', count: 'storm', target: 'agent', child: 'exits-7' },
  { signal: 'SIGHUP', phase: 'ended', count: 'storm', target: 'group', child: 'dies-of-SEGV' },
];

const random = seededRandom(SEED);
const ROWS: readonly SignalRow[] = [
  ...new Map(
    [
      ...MUST,
      ...pairwise(SIGNAL_AXES, random),
      ...Array.from({ length: RANDOM_ROWS }, () => randomRow(SIGNAL_AXES, random)),
    ].map((row) => [Object.values(row).join(), row]),
  ).values(),
];

describe.concurrent(`signals, seed ${SEED} (SIGNAL_MATRIX_SEED)`, () => {
  test.for(ROWS)('$signal to the $target $count while $phase, a child that $child', async (row) => {
    await using scene = new SignalScene({
      controlPlane,
      child: childFor(row),
      options: [`--stop-budget=${BUDGET_MS}ms`, `--settle=${row.phase === 'settling' ? 900 : 120}ms`],
    });
    addFaults(scene, row);
    const agent = await scene.start();
    expect(scene.isThere).toBe(true);
    await untilPhase(scene, agent, row);
    const begunAtMs = performance.now();
    await sendSignals(scene, agent, row);
    if (needsEnd(row)) await end(scene, agent, row);

    const exit = await agent.exited;
    const tookMs = performance.now() - begunAtMs;
    await cleanUp(scene);
    await agent.waitUntilNobodyLives();
    expect(brokenRules({ row, scene, agent, exit, tookMs }), agent.stderr).toEqual([]);
  });
});

interface Outcome {
  readonly row: SignalRow;
  readonly scene: SignalScene;
  readonly agent: AgentProcess;
  readonly exit: Awaited<AgentProcess['exited']>;
  readonly tookMs: number;
}

/** The rules of the model that the run broke, in words. */
function brokenRules({ row, scene, agent, exit, tookMs }: Outcome): readonly string[] {
  const { exits, mostTerms, gone, reported } = predict(row);
  const { reports } = agent;
  const [report] = reports;
  const terms = scene.child.signals('SIGTERM').length;
  const said = scene.child.seen('exiting').at(-1)?.code;
  const broken: Readonly<Record<string, boolean>> = {
    [`ended as it was not told to: ${JSON.stringify(exit)}`]: !exits.some((allowed) => isSame(allowed, exit)),
    [`deleted ${scene.deletions.length} times`]: scene.deletions.length > 1,
    'the object is still there': gone && scene.isThere,
    [`${terms} SIGTERM for kuma-dp`]: terms > mostTerms,
    'a bug was reported': agent.seen('agent.failed').length > 0,
    [`${reports.length} stop reports`]: reports.length > 1 || (reported && reports.length === 0),
    // It could not say anything: then it was killed before it could catch a signal.
    'ended by itself without a report': report === undefined && exit.signal === null,
    'reported another exit': report !== undefined && !isSame(report.exit, exit),
    [`took ${report?.totalMs} ms by its own account`]: (report?.totalMs ?? 0) > BUDGET_MS + REPORT_MARGIN_MS,
    [`took ${tookMs} ms`]: tookMs > BUDGET_MS + REPORT_MARGIN_MS + NOISE_MS,
    [`kuma-dp said ${said}`]: said !== undefined && exit.code !== null && exit.code !== said,
  };
  return Object.entries(broken).flatMap(([rule, isBroken]) => (isBroken ? [rule] : []));
}

function isSame(one: Outcome['exit'], other: Outcome['exit']): boolean {
  return one.code === other.code && one.signal === other.signal;
}

/** A child that stays for the phase that the row is about. */
function childFor({ phase, child }: SignalRow): ChildPlan {
  const plan = CHILD_PLANS[child];
  if (phase === 'draining') return { ...plan, busyMs: 600 };
  if (phase === 'exiting') return { ...plan, exitDelayMs: 400 };
  return plan;
}

function addFaults({ controlPlane: { faults }, path, name }: SignalScene, { phase }: SignalRow): void {
  if (phase === 'deregistering') faults.add({ path, times: 1, action: { kind: 'slow', delayMs: 600 } });
  if (phase === 'confirming')
    faults.add({ path: `${name}/_overview`, times: 1, action: { kind: 'slow', delayMs: 400 } });
}

async function untilPhase(scene: SignalScene, agent: AgentProcess, row: SignalRow): Promise<void> {
  if (row.phase === 'exec') return;
  if (row.phase === 'starting') {
    await agent.waitForEvent('child.spawned');
    return;
  }
  await scene.untilRunning(agent);
  if (!stopsBefore(row)) return;
  agent.signal('SIGTERM');
  switch (row.phase) {
    case 'deregistering':
      await waitUntil(() => scene.requests('GET').length > 0, { what: 'the request before the deletion' });
      return;
    case 'settling':
      await agent.waitForEvent('dataplane.deregistered');
      return;
    case 'draining':
      await scene.child.waitForSignal('SIGTERM');
      return;
    case 'exiting':
      await waitUntil(() => scene.child.seen('exiting')[0] ?? scene.child.signals('SIGTERM')[1], {
        what: 'a child that is about to end',
      });
      return;
    case 'confirming':
      await agent.waitForEvent('child.exited');
      return;
    case 'ended':
      await agent.waitForEvent('stop.reported');
      return;
    case 'running':
      return;
  }
}

async function sendSignals(scene: SignalScene, agent: AgentProcess, row: SignalRow): Promise<void> {
  const signal = row.signal as NodeJS.Signals;
  const send = (count = 1): void => {
    if (row.target === 'group') agent.signalGroup(signal, count);
    else agent.signal(signal, count);
  };
  switch (row.count) {
    case 'once':
      send();
      return;
    case 'twice-at-once':
      send(2);
      return;
    case 'storm':
      send(100);
      return;
    case 'twice':
    case 'three-times': {
      const before = stopsBefore(row) ? 1 : 0;
      for (let sent = 1; sent <= (row.count === 'twice' ? 2 : 3); sent += 1) {
        send();
        await untilNoticed(scene, agent, { row, asked: before + sent });
      }
    }
  }
}

/** Waits until the agent has logged a stop signal. It logs nothing for other signals that a test could wait for. */
async function untilNoticed(
  scene: SignalScene,
  agent: AgentProcess,
  { row, asked }: { readonly row: SignalRow; readonly asked: number },
): Promise<void> {
  if (!isStop(row) || row.phase === 'exec' || row.phase === 'ended') {
    await delay(60);
    return;
  }
  await waitUntil(
    () =>
      !agent.running ||
      agent.seen('stop.requested').length >= Math.min(asked, 3) ||
      scene.child.seen('exiting').length > 0,
    {
      what: `notice of request ${asked}`,
    },
  );
}

/** Ends a row whose signals stop nothing: the forwarded signals have arrived, and kuma-dp lives. */
async function end(scene: SignalScene, agent: AgentProcess, row: SignalRow): Promise<void> {
  if (row.phase === 'running') {
    const arrived = (): boolean => scene.child.seen('signal').length > 0;
    await waitUntil(() => !agent.running || arrived(), { what: `${row.signal} at the child` });
  } else if (row.phase === 'exec') await delay(150);
  agent.signal('SIGTERM');
}

/** Processes that a child left on purpose are no fault of the agent's. */
async function cleanUp(scene: SignalScene): Promise<void> {
  for (const { pid } of scene.child.seen('forked')) {
    try {
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    } catch {
      // A signal to the group ended it already.
    }
  }
}
