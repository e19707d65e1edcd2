import { afterEach, describe, expect, test } from 'vitest';

import { answers, fails } from '../../../support/fake-endpoint.ts';
import { statsOf } from '../../../support/fake-envoy-admin.ts';
import { FakeRun, type FakeRunOptions } from '../../../support/fake-run.ts';

const TEMPLATE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };
const GONE = answers({ verdict: 'gone' } as const);
const DELETED = answers({ verdict: 'deleted' } as const);
const STANDS = answers({ verdict: 'wait', reason: 'two subscriptions are online' } as const);
const NEWER = answers({ verdict: 'leave', reason: 'it carries another incarnation' } as const);

/** What its control plane creates, kuma-dp brings: the control plane owns the object. */
describe('Supervisor: an object that the control plane puts back while Envoy serves', () => {
  let run: FakeRun;

  afterEach(() => {
    run.keeper.close();
    expect(run.clock.armed, 'timers left armed').toBe(0);
  });

  /** @param reconnectsAtMs when Envoy's stream is opened anew, at another control plane */
  function serving(replies: FakeRunOptions['replies'], reconnectsAtMs = 100): void {
    run = new FakeRun({ keeper: { template: TEMPLATE }, ...(replies === undefined ? {} : { replies }) });
    const { clock, admin } = run;
    admin.onStats = () =>
      Promise.resolve(
        `${statsOf(0, 0)}\ncluster.ads_cluster.upstream_cx_total: ${clock.monotonicMs() < reconnectsAtMs ? 1 : 2}`,
      );
    run.serve();
  }

  /** All looks while Envoy serves: as long as its stream is the old one, with the judgement of a run that has ended. */
  function looks(): readonly number[] {
    return [...run.endpoint.times('lookGone'), ...run.endpoint.times('confirm')].toSorted((a, b) => a - b);
  }

  test('is looked for from the deletion on, and costs a plain stop nothing', async () => {
    serving({});
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toMatchObject({ atMs: 2_750 });
    expect(looks().slice(0, 4)).toEqual([0, 300, 600, 900]);
    expect(looks().at(-1)).toBe(2_750);
  });

  test('is deleted again while Envoy settles, and settling begins anew', async () => {
    serving({ lookGone: [GONE, DELETED, GONE] });
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toMatchObject({ atMs: 600 + 2_750 });
    expect(run.sent).toEqual(['SIGTERM 2850', 'SIGTERM 3350']);
    expect(run.log.events.filter((event) => event === 'recreation.undone')).toHaveLength(1);
  });

  test('is deleted again while Envoy drains, which serves on until the peers know', async () => {
    serving({ lookGone: [...Array.from({ length: 8 }, () => GONE), DELETED, GONE] });
    run.signal('SIGTERM');
    const { atMs } = await run.untilEnded();
    expect(run.sent[0]).toBe('SIGTERM 2250');
    expect(atMs).toBeGreaterThanOrEqual(2_700 + 2_250);
    expect(atMs).toBeLessThan(6_000);
  });

  test.for([
    { name: 'that cannot be told from the object of another run', reply: STANDS },
    { name: 'that no endpoint can look for', reply: fails('ENDPOINT_REJECTED') },
  ])('$name: Envoy does not end before kuma-dp alone would have ended it', async ({ reply }) => {
    serving({ lookGone: reply });
    run.signal('SIGTERM');
    expect((await run.untilEnded()).atMs).toBeGreaterThanOrEqual(30_000);
  });

  test('that is there although Envoy has opened no new stream is the object of another run', async () => {
    serving({ lookGone: DELETED, confirm: STANDS }, 100_000);
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.endpoint.times('lookGone')).toEqual([]);
    expect(run.log.events).not.toContain('recreation.undone');
  });

  test('that a newer run has put holds nothing up, and is not looked for any more', async () => {
    serving({ lookGone: NEWER });
    run.signal('SIGTERM');
    expect(await run.untilEnded()).toMatchObject({ atMs: 2_750 });
    expect(run.endpoint.times('lookGone')).toEqual([300]);
  });

  test('that was gone for good does not keep a run back whose agent owns the object', async () => {
    serving({});
    void run.keeper.claim(1_000, new AbortController().signal);
    await run.clock.settle();
    run.signal('SIGTERM');
    await run.untilEnded();
    expect(run.endpoint.times('lookGone')).toEqual([]);
  });
});
