import { afterEach, beforeEach, expect, test } from 'vitest';

import { agentEvents } from '../../../../agent/events.ts';
import { finishWrites, type ClosingWritesDeps } from '../../../../agent/run/closing-writes.ts';
import { divideBudget } from '../../../../agent/stop/stop-budget.pure.ts';
import { beginRecord, finishReport, recordPhase } from '../../../../agent/stop/stop-report.pure.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

let clock: FakeClock;
let log: FakeLog;
let said: { readonly report: string; readonly keep: boolean }[];

beforeEach(() => {
  clock = new FakeClock();
  log = new FakeLog();
  said = [];
});

afterEach(() => {
  expect(clock.armed, 'timers left armed').toBe(0);
});

/** A report whose stop has deregistered, or has not. */
function reportOf({ deregistered }: { readonly deregistered: boolean }): ReturnType<typeof finishReport> {
  const begun = beginRecord('kuma-dp exited', divideBudget(0, 3_000));
  const steps = deregistered ? (['deregistering', 'stopped'] as const) : (['stopped'] as const);
  return finishReport(
    steps.reduce((record, phase) => recordPhase(record, phase, { atMs: 0, outcome: 'gone' }), begun),
    {
      stoppedAt: '',
      dataplane: 'default/web-1',
      incarnation: 'run-1',
      lifecycle: 'cp',
      asked: 0,
      exit: { code: 1, signal: null },
      atMs: 1,
    },
  );
}

function deps(change: Partial<ClosingWritesDeps> = {}): ClosingWritesDeps {
  return {
    clock,
    events: agentEvents(log),
    onCrash: 'deregister',
    attachment: {
      finish: (words) => {
        said.push(words);
        return Promise.resolve();
      },
    },
    append: undefined,
    pending: [],
    ...change,
  };
}

test('the companion hears the report', async () => {
  const report = reportOf({ deregistered: true });
  await finishWrites(report, deps());
  expect(said).toEqual([{ report: JSON.stringify(report), keep: false }]);
});

test('without a stop the companion hears nothing', async () => {
  await finishWrites(undefined, deps());
  expect(said).toEqual([]);
});

test.for([
  { onCrash: 'keep', deregistered: false, keep: true },
  { onCrash: 'keep', deregistered: true, keep: false },
  { onCrash: 'deregister', deregistered: false, keep: false },
] as const)(
  '--on-crash $onCrash, deregistered $deregistered: keep is $keep',
  async ({ onCrash, deregistered, keep }) => {
    await finishWrites(reportOf({ deregistered }), deps({ onCrash }));
    expect(said).toMatchObject([{ keep }]);
  },
);

test('a file of reports that cannot be written is said, and the companion hears the report all the same', async () => {
  await finishWrites(
    reportOf({ deregistered: true }),
    deps({ append: () => Promise.reject(new Error('no space left')) }),
  );
  expect(said).toHaveLength(1);
  expect(log.events).toEqual(['report.unwritable']);
});

test('the agent logs closing writes that fail as a bug', async () => {
  await finishWrites(undefined, deps({ pending: [Promise.reject(new Error('a bug'))] }));
  expect(log.events).toEqual(['agent.failed']);
});

test('closing writes take 250 ms at most', async () => {
  const never = new Promise<never>(() => {});
  const end = finishWrites(undefined, deps({ pending: [never] })).then(() => clock.monotonicMs());
  await clock.pass(1_000);
  expect(await end).toBe(250);
});
