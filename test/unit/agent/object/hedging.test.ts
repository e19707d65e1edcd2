import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { firstAnswer, type HedgedAnswer } from '../../../../agent/object/hedging.ts';
import { withDeadline } from '../../../../kernel/deadline.ts';
import { describeError, type OperationalError } from '../../../../kernel/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import {
  answers,
  answersLate,
  FakeEndpoint,
  fails,
  hangs,
  type FakeReplies,
} from '../../../support/fake-endpoint.ts';

type Deregister = FakeReplies['deregister'];

describe('firstAnswer()', () => {
  let clock: FakeClock;
  let endpoints: FakeEndpoint[];
  let failures: unknown[];

  beforeEach(() => {
    clock = new FakeClock();
    endpoints = [];
    failures = [];
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  /** Endpoint a, b, c…, each with its queue of replies. */
  function endpointsOf(...replies: readonly (readonly Deregister[])[]): void {
    endpoints = replies.map((deregister, at) => new FakeEndpoint(clock, 'abc'.charAt(at), { deregister }));
  }

  /** @param random the jitter's random number: 1 never occurs, but makes the pauses easy to read */
  function ask(budgetMs = 5_000, random = 1): Promise<HedgedAnswer<string>> {
    return withDeadline({ clock, action: 'deregister', budgetMs }, (scope) =>
      firstAnswer<string>({
        clock,
        random: () => random,
        endpoints,
        action: 'deregister',
        scope,
        attempt: (endpoint, signal, attemptMs) =>
          endpoint
            .make(
              {
                key: { proxyType: 'dataplane', mesh: 'm', name: 'n' },
                own: { incarnation: 'i', address: undefined },
              },
              { wish: { state: 'absent' }, template: undefined },
              { signal, budgetMs: attemptMs, send: () => signal },
            )
            .then(({ changed }) => (changed ? 'deleted' : 'already gone')),
        onFailure: (error) => failures.push(describeError(error)),
      }),
    );
  }

  /** What came of it, and when. */
  async function outcomeOf(pending: Promise<HedgedAnswer<string>>): Promise<unknown> {
    let outcome: unknown;
    void pending.then(
      (answer) => {
        outcome = { ...answer, atMs: clock.monotonicMs() };
      },
      (error: unknown) => {
        outcome = { code: (error as OperationalError).code, atMs: clock.monotonicMs() };
      },
    );
    await clock.passUntil(() => outcome !== undefined);
    // Abandoned attempts must end as well.
    await clock.settle();
    return outcome;
  }

  function attempts(): Record<string, readonly number[]> {
    return Object.fromEntries(endpoints.map((endpoint) => [endpoint.url, endpoint.times('deregister')]));
  }

  test('asks the first endpoint and leaves the others alone when it answers', async () => {
    endpointsOf([answers('deleted')], [answers('deleted')]);
    expect(await outcomeOf(ask())).toEqual({ value: 'deleted', endpoint: 'a', attempts: 1, atMs: 0 });
    expect(attempts()).toEqual({ a: [0], b: [] });
  });

  test('asks the next endpoint after 500 ms of silence, and the one after it 500 ms later', async () => {
    endpointsOf([hangs], [hangs], [answers('already gone')]);
    expect(await outcomeOf(ask())).toEqual({
      value: 'already gone',
      endpoint: 'c',
      attempts: 3,
      atMs: 1_000,
    });
    expect(attempts()).toEqual({ a: [0], b: [500], c: [1_000] });
  });

  test('does not ask the next endpoint when the first answers just in time', async () => {
    endpointsOf([answersLate(clock, 499, 'deleted')], [answers('deleted')]);
    expect(await outcomeOf(ask())).toMatchObject({ endpoint: 'a', atMs: 499 });
    expect(attempts()).toEqual({ a: [0], b: [] });
  });

  test('takes the first answer from any endpoint', async () => {
    endpointsOf([answersLate(clock, 700, 'deleted')], [answersLate(clock, 300, 'already gone')]);
    expect(await outcomeOf(ask())).toEqual({ value: 'deleted', endpoint: 'a', attempts: 2, atMs: 700 });
  });

  test('asks the next endpoint at once after a failure that may pass', async () => {
    endpointsOf([fails('ENDPOINT_UNREACHABLE'), hangs], [answers('deleted')]);
    expect(await outcomeOf(ask())).toEqual({ value: 'deleted', endpoint: 'b', attempts: 2, atMs: 0 });
    expect(failures).toEqual(['Cannot: ENDPOINT_UNREACHABLE']);
  });

  test('asks the next endpoint at once after a failure that will not pass, and never the first again', async () => {
    endpointsOf([fails('ENDPOINT_REJECTED')], [answersLate(clock, 3_000, 'deleted'), answers('deleted')]);
    expect(await outcomeOf(ask())).toMatchObject({ endpoint: 'b' });
    expect(attempts()['a']).toEqual([0]);
  });

  test('retries with a pause that doubles, up to a second', async () => {
    endpointsOf([
      fails('ENDPOINT_BUSY'),
      fails('ENDPOINT_BUSY'),
      fails('ENDPOINT_BUSY'),
      fails('ENDPOINT_BUSY'),
      fails('ENDPOINT_BUSY'),
      fails('ENDPOINT_BUSY'),
      answers('deleted'),
    ]);
    expect(await outcomeOf(ask())).toEqual({ value: 'deleted', endpoint: 'a', attempts: 7, atMs: 3_500 });
    expect(attempts()).toEqual({ a: [0, 100, 300, 700, 1_500, 2_500, 3_500] });
  });

  test('jitters the pause over its whole length', async () => {
    endpointsOf([fails('ENDPOINT_BUSY'), answers('deleted')]);
    expect(await outcomeOf(ask(5_000, 0.25))).toMatchObject({ atMs: 25 });
  });

  test('waits as long as the server asked for, not as long as the jitter says', async () => {
    endpointsOf([fails('ENDPOINT_BUSY', { retryAfterMs: 2_000 }), answers('deleted')]);
    expect(await outcomeOf(ask(5_000, 0))).toMatchObject({ attempts: 2, atMs: 2_000 });
  });

  test('goes on at other endpoints while one asked for patience', async () => {
    endpointsOf([fails('ENDPOINT_BUSY', { retryAfterMs: 60_000 })], [answers('deleted')]);
    expect(await outcomeOf(ask())).toMatchObject({ endpoint: 'b', atMs: 0 });
  });

  test('gives the first attempt 1 s and each further one twice as long, up to 4 s', async () => {
    endpointsOf([hangs, hangs, hangs, hangs, answers('deleted')]);
    expect(await outcomeOf(ask(20_000, 0))).toEqual({
      value: 'deleted',
      endpoint: 'a',
      attempts: 5,
      atMs: 11_000,
    });
    expect(failures).toEqual(
      [1_000, 2_000, 4_000, 4_000].map((budgetMs) => `Cannot deregister at a within ${budgetMs} ms`),
    );
  });

  test('ends with the last failure once no endpoint is left to ask', async () => {
    endpointsOf([fails('ENDPOINT_REJECTED')], [fails('ENDPOINT_UNTRUSTED')]);
    expect(await outcomeOf(ask())).toEqual({ code: 'ENDPOINT_UNTRUSTED', atMs: 0 });
    expect(failures).toEqual(['Cannot: ENDPOINT_REJECTED', 'Cannot: ENDPOINT_UNTRUSTED']);
  });

  test('a failure that will not pass does not end the race while another endpoint may still answer', async () => {
    endpointsOf([answersLate(clock, 900, 'deleted')], [fails('ENDPOINT_REJECTED')]);
    expect(await outcomeOf(ask())).toMatchObject({ endpoint: 'a', atMs: 900 });
  });

  test('a foreign object ends it at once, at every endpoint', async () => {
    endpointsOf([hangs], [fails('DATAPLANE_FOREIGN')], [answers('deleted')]);
    expect(await outcomeOf(ask())).toEqual({ code: 'DATAPLANE_FOREIGN', atMs: 500 });
    expect(attempts()).toEqual({ a: [0], b: [500], c: [] });
  });

  test('what is not an operational failure is a bug, and is not tried again', async () => {
    endpointsOf([() => Promise.reject(new TypeError('a bug'))]);
    const pending = ask();
    await expect(pending).rejects.toThrow(new TypeError('a bug'));
    expect(attempts()).toEqual({ a: [0] });
  });

  test('the deadline holds even if every endpoint hangs and ignores its signal', async () => {
    endpointsOf([hangs], [hangs]);
    expect(await outcomeOf(ask(5_000))).toEqual({ code: 'DEADLINE_EXCEEDED', atMs: 5_000 });
  });

  test('does not wait for an endpoint that wants more time than there is', async () => {
    endpointsOf([fails('ENDPOINT_BUSY', { retryAfterMs: 60_000 })]);
    expect(await outcomeOf(ask(2_000))).toEqual({ code: 'ENDPOINT_BUSY', atMs: 0 });
  });

  test('the deadline ends a pause as well: another endpoint may hold the call open', async () => {
    endpointsOf([hangs], [fails('ENDPOINT_BUSY', { retryAfterMs: 1_400 })]);
    expect(await outcomeOf(ask(2_000))).toEqual({ code: 'DEADLINE_EXCEEDED', atMs: 2_000 });
  });

  test('an answer that comes after the deadline changes nothing', async () => {
    endpointsOf([
      () =>
        new Promise((resolve) => {
          clock.after(6_000, () => {
            resolve('deleted');
          });
        }),
    ]);
    expect(await outcomeOf(ask(1_000))).toEqual({ code: 'DEADLINE_EXCEEDED', atMs: 1_000 });
    await clock.pass(6_000);
    expect(failures).toEqual([]);
  });

  test('tells the losers that no caller waits for them any more', async () => {
    let seen: AbortSignal | undefined;
    endpointsOf(
      [
        (signal) => {
          seen = signal;
          return new Promise(() => {});
        },
      ],
      [answers('deleted')],
    );
    await outcomeOf(ask());
    expect(seen?.reason).toMatchObject({ code: 'CANCELLED' });
  });
});
