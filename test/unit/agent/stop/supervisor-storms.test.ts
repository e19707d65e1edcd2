import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import type { ChildExit } from '../../../../agent/child/exit-status.pure.ts';
import { answers, answersLate, fails, hangs, type FakeReplies } from '../../../support/fake-endpoint.ts';
import { statsOf } from '../../../support/fake-envoy-admin.ts';
import { FakeRun } from '../../../support/fake-run.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2', 'SIGQUIT', 'SIGUSR1'] as const;
const BUDGET_MS = 20_000;

/** What kuma-dp does about its signals, from "as it should" to "nothing but SIGKILL ends it". */
const CHILDREN = ['obedient', 'slow', 'drains by itself', 'ignores SIGTERM', 'ends at once'] as const;
const ENDPOINTS = ['answers', 'is slow', 'hangs', 'refuses', 'is busy', 'loses the answer'] as const;

const storms = fc.record({
  signals: fc.array(
    fc.record({ afterMs: fc.integer({ min: 0, max: 6_000 }), signal: fc.constantFrom(...SIGNALS) }),
    { maxLength: 8 },
  ),
  child: fc.constantFrom(...CHILDREN),
  endpoint: fc.constantFrom(...ENDPOINTS),
  envoySeen: fc.boolean(),
  busyMs: fc.integer({ min: 0, max: 30_000 }),
  dies: fc.option(fc.integer({ min: 0, max: 25_000 })),
});

function replies(
  run: () => FakeRun,
): Readonly<Record<(typeof ENDPOINTS)[number], FakeReplies['deregister'][]>> {
  return {
    answers: [answers('deleted')],
    'is slow': [(signal) => answersLate(run().clock, 1_200, 'deleted' as const)(signal)],
    hangs: [hangs],
    refuses: [fails('ENDPOINT_REJECTED')],
    'is busy': [fails('ENDPOINT_BUSY', { retryAfterMs: 700 }), answers('deleted')],
    'loses the answer': [fails('ENDPOINT_UNREACHABLE'), answers('already gone')],
  };
}

function train(run: FakeRun, kind: (typeof CHILDREN)[number]): void {
  const { child, clock } = run;
  const clean: ChildExit = { code: 0, signal: null };
  child.reacts = (signal, nth) => {
    const terminated = signal === 'SIGTERM';
    if (signal === 'SIGKILL') child.exit({ code: null, signal });
    else if (signal === 'SIGQUIT') child.exit({ code: 2, signal: null });
    else if (!terminated || kind === 'ignores SIGTERM') return;
    else if (kind === 'ends at once' || (kind === 'obedient' && nth === 2)) child.exit(clean);
    else if (kind === 'slow' && nth === 2) clock.after(3_000, () => child.exit(clean));
    else if (kind === 'drains by itself' && nth === 1) clock.after(9_000, () => child.exit(clean));
  };
}

test('any signals to any kuma-dp with any control plane: the stop ends once, in time, and leaves nothing', async () => {
  await fc.assert(
    fc.asyncProperty(storms, async ({ signals, child, endpoint, envoySeen, busyMs, dies }) => {
      const run: FakeRun = new FakeRun({
        supervisor: { stopBudgetMs: BUDGET_MS },
        replies: { deregister: replies(() => run)[endpoint] },
      });
      const { clock, admin } = run;
      train(run, child);
      admin.onStats = () => Promise.resolve(statsOf(clock.monotonicMs() < busyMs ? 1 : 0, 5));
      run.supervisor.onSpawned(run.child, run.child.exited);
      if (envoySeen) run.supervisor.onEnvoySeen(admin);
      for (const { afterMs, signal } of signals) clock.after(afterMs, () => run.signal(signal));
      if (dies !== null) clock.after(dies, () => run.child.exit({ code: 1, signal: null }));
      clock.after(6_001, () => run.signal('SIGTERM'));

      const firstStopMs = Math.min(
        6_001,
        ...signals.flatMap(({ afterMs, signal }) =>
          signal === 'SIGUSR2' || signal === 'SIGQUIT' || signal === 'SIGUSR1' ? [] : afterMs,
        ),
      );
      await run.untilEnded();
      expect(run.ended?.atMs).toBeLessThanOrEqual(firstStopMs + BUDGET_MS + 250);

      const terms = run.child.signals.filter(({ signal }) => signal === 'SIGTERM').map(({ atMs }) => atMs);
      expect(terms.length).toBeLessThanOrEqual(2);
      const [first = 0, second = Number.POSITIVE_INFINITY] = terms;
      expect(second - first).toBeGreaterThanOrEqual(250);
      expect(run.reports).toHaveLength(1);
      expect(run.log.events).not.toContain('agent.failed');
      expect(run.log.events.filter((event) => event === 'child.exited')).toEqual(['child.exited']);
      expect(run.reports[0]?.exit).toEqual(run.ended?.exit);

      // The timers that the storm itself and a second SIGTERM had armed.
      await clock.pass(30_000);
      expect(clock.armed).toBe(0);
    }),
    { numRuns: 150 },
  );
});
