import { afterEach, describe, expect, test, vi } from 'vitest';

import type { ChildExit } from '../../../../agent/child/exit-status.pure.ts';
import type { Confirmation } from '../../../../agent/ports.ts';
import { answers, fails, hangs } from '../../../support/fake-endpoint.ts';
import { statsOf } from '../../../support/fake-envoy-admin.ts';
import { FakeRun, type FakeRunOptions } from '../../../support/fake-run.ts';

const CLEAN: ChildExit = { code: 0, signal: null };
const FAILED: ChildExit = { code: 3, signal: null };
const KILLED: ChildExit = { code: null, signal: 'SIGKILL' };
const TERMED: ChildExit = { code: null, signal: 'SIGTERM' };

let runs: FakeRun[] = [];

function start(options?: FakeRunOptions): FakeRun {
  const run = new FakeRun(options);
  runs.push(run);
  return run;
}

function serving(options?: FakeRunOptions): FakeRun {
  const run = start(options);
  run.serve();
  return run;
}

/** The steps of the report, as `settle 0+2250 time is up`. */
function stepsOf(run: FakeRun): readonly string[] {
  const steps = run.reports[0]?.steps ?? [];
  return steps.map(({ step, startMs, durationMs, outcome }) => `${step} ${startMs}+${durationMs} ${outcome}`);
}

afterEach(() => {
  for (const run of runs) expect(run.clock.armed, 'timers left armed').toBe(0);
  runs = [];
});

describe('Supervisor: one SIGTERM', () => {
  test('deregisters, settles, drains, ends and confirms, then ends as kuma-dp did', async () => {
    const run = serving();
    await run.clock.pass(1_000);
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 3_750 });
    expect(run.endpoint.calls).toEqual([
      { method: 'deregister', atMs: 1_000 },
      { method: 'confirm', atMs: 3_750 },
    ]);
    expect(run.sent).toEqual(['SIGTERM 3250', 'SIGTERM 3750']);
  });

  test('reports every step', async () => {
    const run = serving();
    await run.clock.pass(1_000);
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.reports).toEqual([
      {
        schema: 1,
        stoppedAt: '2026-01-01T00:00:03.750Z',
        dataplane: 'default/web-1',
        incarnation: 'run-1',
        lifecycle: 'cp',
        cause: 'signal SIGTERM',
        asked: 1,
        budgetMs: 60_000,
        leftMs: 57_250,
        totalMs: 2_750,
        steps: [
          {
            step: 'deregister',
            startMs: 0,
            durationMs: 0,
            outcome: 'gone',
            detail: { reason: 'deleted', endpoint: 'https://cp:5682', attempts: 1 },
          },
          { step: 'settle', startMs: 0, durationMs: 2_250, outcome: 'time is up' },
          { step: 'drain', startMs: 2_250, durationMs: 500, outcome: 'quiet' },
          { step: 'exit', startMs: 2_750, durationMs: 0, outcome: 'exit code 0' },
          { step: 'confirm', startMs: 2_750, durationMs: 0, outcome: 'gone' },
        ],
        exit: CLEAN,
      },
    ]);
  });

  test('says what it does in few words, and writes down what another process must know', async () => {
    const run = serving();
    run.signal('SIGTERM');
    await run.untilEnded();
    const said = run.log.lines
      .filter(({ level }) => level !== 'debug')
      .map(({ level, event }) => `${level} ${event}`);
    expect(said).toEqual([
      'info stop.requested',
      'info dataplane.deregistered',
      'info child.exited',
      'info stop.reported',
    ]);
    expect(run.notes).toEqual([
      { phase: 'running', pid: 4711 },
      { phase: 'leaving', deregistered: false },
      { phase: 'leaving', deregistered: true },
      {
        phase: 'ended',
        deregistered: true,
        neverStored: false,
        lastStop: expect.objectContaining({ outcome: 'gone' }),
      },
    ]);
  });

  test.for(['SIGINT', 'SIGHUP'] as const)('%s stops in the same way', async (signal) => {
    const run = serving();
    run.signal(signal);
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 2_750 });
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750']);
    expect(run.reports[0]?.cause).toBe(`signal ${signal}`);
  });

  test('a wall clock that jumps by hours changes nothing', async () => {
    const run = serving();
    run.signal('SIGTERM');
    await run.clock.pass(1_000);
    run.clock.wallJumpMs = -86_400_000;
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 2_750 });
    expect(run.reports[0]).toMatchObject({ totalMs: 2_750, stoppedAt: '2025-12-31T00:00:02.750Z' });
  });

  test('a request in progress holds the drain', async () => {
    const run = serving();
    run.admin.onStats = () => Promise.resolve(statsOf(run.clock.monotonicMs() < 10_000 ? 1 : 0, 9));
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toMatchObject({ exit: CLEAN });
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 10550']);
  });

  test('a drain that has no end ends when kuma-dp alone would have ended it', async () => {
    const run = serving();
    run.admin.onStats = () => Promise.resolve(statsOf(1, 9));
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 30_150 });
    expect(stepsOf(run)[2]).toBe('drain 2250+27900 time is up');
    expect(run.reports[0]?.steps[2]?.detail).toEqual({ held: ['waiting for 1 inbound request'] });
  });

  test('a budget below the drain time ends it sooner', async () => {
    const run = serving({ supervisor: { stopBudgetMs: 20_000 } });
    run.admin.onStats = () => Promise.resolve(statsOf(1, 9));
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 14_000 });
  });

  test("an Envoy that cannot be asked gets kuma-dp's drain time", async () => {
    const run = start();
    run.supervisor.onSpawned(run.child, run.child.exited);
    run.supervisor.onEnvoySeen(undefined);
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 30_100 });
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 30100']);
  });

  test('an admin that stops answering does the same, and says so', async () => {
    const run = serving();
    run.admin.onStats = () => Promise.reject(new Error('connection refused'));
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 30_150 });
    expect(run.log.lines.find(({ event }) => event === 'drain.blind')?.message).toBe(
      "Cannot read Envoy's statistics: waiting for kuma-dp's full drain time: connection refused",
    );
  });

  test('a kuma-dp that ignores SIGTERM is killed before the budget ends', async () => {
    const run = serving();
    run.child.reacts = (signal) => {
      if (signal === 'SIGKILL') run.child.exit(KILLED);
    };
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: KILLED, atMs: 58_000 });
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750', 'SIGKILL 58000']);
    expect(stepsOf(run)[3]).toBe('exit 2750+55250 killed');
  });

  test.for([
    { exit: FAILED, name: 'a code' },
    { exit: { code: null, signal: 'SIGSEGV' } as const, name: 'a signal' },
  ])('mirrors $name', async ({ exit }) => {
    const run = serving();
    run.child.reacts = () => {
      run.child.exit(exit);
    };
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit, atMs: 2_250 });
  });

  test('a kuma-dp that another process told to drain is not told twice', async () => {
    const run = serving({ dataplane: { readiness: { isTerminating: () => Promise.resolve(true) } } });
    run.signal('SIGTERM');
    await run.clock.pass(2_750);
    expect(run.sent).toEqual(['SIGTERM 2750']);
    run.child.exit(CLEAN);
    await run.untilEnded();
  });
});

describe('Supervisor: several signals', () => {
  test('the second skips the waits; the two SIGTERMs are never closer than 250 ms', async () => {
    const run = serving();
    run.signal('SIGTERM');
    await run.clock.pass(1_000);
    run.signal('SIGINT');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 1_250 });
    expect(run.sent).toEqual(['SIGTERM 1000', 'SIGTERM 1250']);
    expect(stepsOf(run)).toEqual([
      'deregister 0+0 gone',
      'settle 0+1000 hurried',
      'exit 1000+250 exit code 0',
      'confirm 1250+0 gone',
    ]);
  });

  test('two at the same moment make one deletion and two SIGTERMs', async () => {
    const run = serving();
    run.signal('SIGTERM', 'SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 250 });
    expect(run.endpoint.times('deregister')).toEqual([0]);
    expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 250']);
  });

  test('the second gives a deletion under way one more second, and never skips it', async () => {
    const run = serving({ replies: { deregister: hangs } });
    run.signal('SIGTERM');
    await run.clock.pass(500);
    run.signal('SIGTERM');
    expect((await run.untilEnded()).exit).toEqual(CLEAN);
    expect(run.sent).toEqual(['SIGTERM 1500', 'SIGTERM 1750']);
    expect(stepsOf(run)[0]).toBe('deregister 0+1500 failed');
  });

  test('the third kills', async () => {
    const run = serving();
    run.admin.onStats = () => Promise.resolve(statsOf(1, 9));
    run.child.reacts = (signal) => {
      if (signal === 'SIGKILL') run.child.exit(KILLED);
    };
    run.signal('SIGTERM');
    await run.clock.pass(3_000);
    run.signal('SIGTERM');
    await run.clock.pass(1_000);
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: KILLED, atMs: 4_000 });
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 3000', 'SIGKILL 4000']);
    expect(run.endpoint.times('confirm')).toEqual([]);
    expect(run.reports[0]?.asked).toBe(3);
  });

  test('a hundred at once: one deletion, killed, at most three lines about it', async () => {
    const run = serving();
    run.signal(...Array.from({ length: 100 }, () => 'SIGTERM' as const));
    expect((await run.untilEnded()).exit).toEqual(KILLED);
    expect(run.endpoint.times('deregister')).toEqual([0]);
    expect(run.sent).toEqual(['SIGKILL 0']);
    expect(run.log.events.filter((event) => event === 'stop.requested')).toHaveLength(3);
  });

  test.for(['SIGQUIT', 'SIGUSR1', 'SIGWINCH', 'SIGCONT'] as const)(
    '%s is passed on while kuma-dp lives',
    async (signal) => {
      const run = start();
      run.signal(signal);
      run.serve();
      run.signal(signal);
      expect(run.sent).toEqual([`${signal} 0`]);
      expect(run.log.events.includes('signal.forwarded')).toBe(signal !== 'SIGCONT');
      run.child.exit(CLEAN);
      await run.untilEnded();
      run.signal(signal);
      expect(run.sent).toEqual([`${signal} 0`]);
    },
  );

  test('SIGQUIT is passed on during a stop as well', async () => {
    const run = serving();
    run.signal('SIGTERM');
    await run.clock.pass(1_000);
    run.signal('SIGQUIT');
    expect(run.sent).toEqual(['SIGQUIT 1000']);
    await run.untilEnded();
  });
});

describe('Supervisor: SIGUSR2', () => {
  test('deregisters, passes it on and goes on; a SIGTERM later ends it with one signal', async () => {
    const run = serving();
    run.signal('SIGUSR2');
    await run.clock.pass(60_000);
    expect(run.ended).toBeUndefined();
    expect(run.sent).toEqual(['SIGUSR2 0']);
    expect(run.endpoint.times('deregister')).toEqual([0]);
    run.child.reacts = () => {
      run.child.exit(CLEAN);
    };
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 62_750 });
    expect(run.sent).toEqual(['SIGUSR2 0', 'SIGTERM 62750']);
    expect(run.reports[0]).toMatchObject({ cause: 'signal SIGTERM', asked: 1, totalMs: 2_750 });
  });

  test('is not passed on before the deregistration has ended, however often it comes', async () => {
    const run = serving({ replies: { deregister: hangs } });
    run.signal('SIGUSR2');
    await run.clock.pass(1_000);
    run.signal('SIGUSR2');
    await run.clock.pass(3_999);
    expect(run.sent).toEqual([]);
    await run.clock.pass(1);
    expect(run.sent).toEqual(['SIGUSR2 5000']);
    run.child.exit(CLEAN);
    await run.untilEnded();
  });

  test('is not passed on when a SIGTERM overtakes it', async () => {
    const run = serving();
    run.signal('SIGUSR2', 'SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 2250', 'SIGTERM 2750']);
    expect(run.endpoint.times('deregister')).toEqual([0]);
  });
});

describe('Supervisor: no help from the control plane', () => {
  test.for([
    { name: 'it hangs', reply: hangs, toldMs: 1_200, lastMs: 300 },
    { name: 'it cannot be reached', reply: fails('ENDPOINT_UNREACHABLE'), toldMs: 1_200, lastMs: 300 },
    {
      name: 'it is busy',
      reply: fails('ENDPOINT_BUSY', { retryAfterMs: 60_000 }),
      toldMs: 0,
      lastMs: 0,
    },
    { name: 'it refuses', reply: fails('ENDPOINT_REJECTED'), toldMs: 0, lastMs: 0 },
    { name: 'it is not trusted', reply: fails('ENDPOINT_UNTRUSTED'), toldMs: 0, lastMs: 0 },
  ])(
    "$name: no settling, the drain lasts kuma-dp's drain time, the end is at most a second later than kuma-dp's own",
    async ({ reply, toldMs, lastMs }) => {
      const run = serving({ replies: { deregister: reply } });
      run.signal('SIGTERM');
      const drainedMs = 30_100;
      expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: drainedMs + lastMs });
      expect(run.sent).toEqual([`SIGTERM ${toldMs}`, `SIGTERM ${drainedMs}`]);
      expect(stepsOf(run).slice(0, 2)).toEqual([
        `deregister 0+${lastMs === 0 ? 0 : drainedMs + lastMs} failed`,
        `drain ${toldMs}+${drainedMs - toldMs} time is up`,
      ]);
      expect(run.endpoint.times('confirm')).toEqual([]);
      expect(run.log.events).toContain('deregistration.failed');
      expect(run.notes[2]).toEqual({ phase: 'leaving', deregistered: false });
    },
  );

  test.for([
    { name: 'it hangs', reply: hangs, toldMs: 500, endMs: 750 },
    { name: 'it cannot be reached', reply: fails('ENDPOINT_UNREACHABLE'), toldMs: 500, endMs: 750 },
    { name: 'it is busy', reply: fails('ENDPOINT_BUSY', { retryAfterMs: 1_000 }), toldMs: 0, endMs: 700 },
    { name: 'it refuses', reply: fails('ENDPOINT_REJECTED'), toldMs: 0, endMs: 700 },
  ])('$name, and hardly any time: the attempt is made, kuma-dp is told, the budget holds', async (scene) => {
    const run = serving({ replies: { deregister: scene.reply }, supervisor: { stopBudgetMs: 1_000 } });
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBeLessThanOrEqual(1_000);
    expect(run.endpoint.times('deregister')[0]).toBe(0);
    expect(run.sent).toEqual([`SIGTERM ${scene.toldMs}`, `SIGTERM ${scene.endMs}`]);
    expect(stepsOf(run)[0]).toContain('failed');
  });

  test('it answers while kuma-dp drains: Envoy ends as soon as the peers have been told', async () => {
    const unreachable = Array.from({ length: 8 }, () => fails('ENDPOINT_UNREACHABLE'));
    const run = serving({ replies: { deregister: [...unreachable, answers('deleted')] } });
    run.signal('SIGTERM');
    const { atMs } = await run.untilEnded();
    const goneMs = run.endpoint.times('deregister').at(-1) ?? 0;
    expect(goneMs).toBeGreaterThan(2_000);
    expect(run.sent).toEqual(['SIGTERM 1200', `SIGTERM ${atMs}`]);
    expect(atMs).toBeGreaterThanOrEqual(goneMs + 2_250);
    expect(atMs).toBeLessThan(goneMs + 2_500);
    expect(stepsOf(run)[0]).toBe(`deregister 0+${goneMs} gone`);
    expect(run.endpoint.times('confirm')).toEqual([atMs]);
    expect(run.log.events).toContain('deregistration.late');
    expect(run.notes.at(-1)).toMatchObject({ phase: 'ended', deregistered: true });
  });

  test('a stop before Envoy was there tells kuma-dp at once, and ends a second after it at the latest', async () => {
    const run = start({ replies: { deregister: hangs, confirm: hangs } });
    run.supervisor.onSpawned(run.child, run.child.exited);
    run.child.reacts = () => {
      run.child.exit(FAILED);
    };
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: FAILED, atMs: 1_200 });
    expect(run.sent).toEqual(['SIGTERM 0']);
    expect(stepsOf(run)[0]).toBe('deregister 0+1200 failed');
    expect(run.endpoint.times('confirm')).toEqual([]);
  });

  test.for<{
    readonly confirmation: Confirmation;
    readonly outcome: string;
    readonly event: string;
    readonly deregistered: boolean;
  }>([
    {
      confirmation: { verdict: 'deleted' },
      outcome: 'deleted again',
      event: 'recreation.undone',
      deregistered: true,
    },
    {
      confirmation: { verdict: 'leave', reason: 'another incarnation' },
      outcome: 'left',
      event: 'recreation.unclear',
      deregistered: false,
    },
  ])(
    'an object that exists again at the end: $outcome',
    async ({ confirmation, outcome, event, deregistered }) => {
      const run = serving({ replies: { confirm: answers(confirmation) } });
      run.signal('SIGTERM');
      await run.untilEnded();
      expect(stepsOf(run)[4]).toBe(`confirm 2750+0 ${outcome}`);
      expect(run.log.events).toContain(event);
      expect(run.notes.at(-1)).toMatchObject({ phase: 'ended', deregistered });
    },
  );

  test('an external dataplane is drained and never deleted, nor looked for', async () => {
    const run = serving({ keeper: { mayDelete: false } });
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.endpoint.calls).toEqual([]);
    expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 30100']);
    expect(stepsOf(run)[0]).toBe('deregister 0+0 kept');
  });

  test('a dataplane without a known name is drained all the same, and the report says why', async () => {
    const run = serving({ dataplane: { registration: undefined, unregisteredBecause: 'no such file' } });
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.sent).toEqual(['SIGTERM 0', 'SIGTERM 30100']);
    expect(run.reports[0]?.steps[0]).toMatchObject({ outcome: 'kept', detail: { reason: 'no such file' } });
  });
});

describe('Supervisor: kuma-dp ends by itself', () => {
  test('is deregistered, then mirrored', async () => {
    const run = serving();
    run.child.exit(KILLED);
    expect(await run.untilEnded()).toEqual({ exit: KILLED, atMs: 0 });
    expect(run.endpoint.times('deregister')).toEqual([0]);
    expect(run.reports[0]).toMatchObject({ cause: 'kuma-dp exited', asked: 0, budgetMs: 3_000 });
    expect(stepsOf(run)).toEqual(['deregister 0+0 gone']);
  });

  test('within 0.7 s, whatever the control plane does', async () => {
    const run = serving({ replies: { deregister: hangs } });
    run.child.exit(CLEAN);
    expect(await run.untilEnded()).toEqual({ exit: CLEAN, atMs: 700 });
  });

  test('under --on-crash keep is mirrored at once', async () => {
    const run = serving({ supervisor: { onCrash: 'keep' } });
    run.child.exit(FAILED);
    expect(await run.untilEnded()).toEqual({ exit: FAILED, atMs: 0 });
    expect(run.endpoint.calls).toEqual([]);
  });

  test('before Envoy was seen has nothing to take away', async () => {
    const run = start();
    run.supervisor.onSpawned(run.child, run.child.exited);
    run.child.exit(FAILED);
    expect(await run.untilEnded()).toEqual({ exit: FAILED, atMs: 0 });
    expect(run.endpoint.calls).toEqual([]);
  });

  test('with the object registered takes that away', async () => {
    const run = start();
    run.supervisor.onRegistered();
    run.supervisor.onSpawned(run.child, run.child.exited);
    run.child.exit(FAILED);
    expect(await run.untilEnded()).toEqual({ exit: FAILED, atMs: 0 });
    expect(run.endpoint.times('deregister')).toEqual([0]);
  });
});

describe('Supervisor: before kuma-dp is there', () => {
  test('a stop ends as the signal would have, and cancels the start', async () => {
    const run = start();
    run.signal('SIGTERM');
    expect(run.facts.stopping.aborted).toBe(true);
    expect(await run.untilEnded()).toEqual({ exit: TERMED, atMs: 0 });
    expect(run.endpoint.calls).toEqual([]);
    expect(run.notes).toMatchObject([{ phase: 'ended', deregistered: true }]);
  });

  test('a stop takes an registered object away first', async () => {
    const run = start();
    run.supervisor.onRegistered();
    run.signal('SIGINT');
    expect(await run.untilEnded()).toEqual({ exit: { code: null, signal: 'SIGINT' }, atMs: 0 });
    expect(run.endpoint.times('deregister')).toEqual([0]);
    expect(run.notes.at(-1)).toMatchObject({ phase: 'ended', deregistered: true });
  });

  test('a command that cannot be started ends with its code and without a report', async () => {
    const run = start();
    run.supervisor.onSpawnFailed(127);
    expect(await run.untilEnded()).toEqual({ exit: { code: 127, signal: null }, atMs: 0 });
    expect(run.reports).toEqual([]);
  });
});

describe('Supervisor: trouble of its own', () => {
  test('a bug in a step ends that step, not the stop', async () => {
    const bug = new TypeError('a bug');
    const isTerminating = vi.fn(() => Promise.reject(bug));
    const run = serving({ dataplane: { readiness: { isTerminating } } });
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toEqual({ exit: KILLED, atMs: 58_000 });
    expect(run.log.lines.find(({ event }) => event === 'agent.failed')?.fields).toEqual({ err: bug });
  });
});
