import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { CompanionAttachment } from '../../../../agent/companion/attachment.ts';
import { agentEvents } from '../../../../agent/events.ts';
import type { Owner } from '../../../../agent/identity/owner.pure.ts';
import type {
  AgentStatus,
  Attached,
  AttachListener,
  AttachStream,
  AttachWait,
  Companion,
  Hello,
  StreamEnd,
  LastWords,
} from '../../../../agent/ports.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { DEFAULT_FACTS, type ControlPlaneFacts } from '../../../../kuma/control-plane.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeEndpoint } from '../../../support/fake-endpoint.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const DEPARTURE = {
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  own: { incarnation: 'run-1', address: '10.0.0.1' },
} as const;

class FakeStream implements AttachStream {
  readonly told: AgentStatus[] = [];
  readonly owners: Owner[] = [];
  /** The companion asks, and hears of it. */
  answer: () => void = () => {};
  readonly reports: string[] = [];
  readonly ended: Promise<StreamEnd>;
  readonly end: (end: StreamEnd) => void;
  hears = true;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<StreamEnd>();
    this.ended = promise;
    this.end = resolve;
  }

  tell(status: AgentStatus, owner?: Owner): void {
    this.told.push(status);
    if (owner !== undefined) this.owners.push(owner);
  }

  finish({ report }: LastWords): Promise<void> {
    this.reports.push(report);
    return this.hears ? Promise.resolve() : new Promise(() => {});
  }

  close(): void {
    this.end(lost('CANCELLED'));
  }
}

type Welcome = (onAttached: (attached: Attached) => void, wait: AttachWait) => Promise<FakeStream>;

/** A companion that welcomes as a test says; the last welcome repeats. */
class FakeCompanionEndpoint extends FakeEndpoint implements Companion {
  readonly hellos: { readonly hello: Hello; readonly atMs: number }[] = [];
  readonly streams: FakeStream[] = [];
  readonly #clock: FakeClock;
  readonly #welcomes: Welcome[];

  constructor(clock: FakeClock, url: string, welcomes: readonly Welcome[]) {
    super(clock, url);
    this.#clock = clock;
    this.#welcomes = [...welcomes];
  }

  /** From now on. */
  welcome(welcome: Welcome): void {
    this.#welcomes.splice(0, this.#welcomes.length, welcome);
  }

  async attach(hello: Hello, listener: AttachListener, wait: AttachWait): Promise<AttachStream> {
    this.hellos.push({ hello, atMs: this.#clock.monotonicMs() });
    const welcome = this.#welcomes.length > 1 ? this.#welcomes.shift() : this.#welcomes[0];
    if (welcome === undefined) throw new TypeError('No welcome');
    const stream = await welcome((attached) => {
      listener.attached(attached);
    }, wait);
    stream.answer = () => {
      listener.answered();
    };
    this.streams.push(stream);
    return stream;
  }
}

function lost(code: OperationalError['code'] = 'ENDPOINT_UNREACHABLE'): StreamEnd {
  return { kind: 'lost', error: new OperationalError(code, `Cannot attach: ${code}`) };
}

const FACTS: ControlPlaneFacts = { ...DEFAULT_FACTS, version: '2.14.3' };

const attaches =
  (epoch: number | undefined): Welcome =>
  (onAttached) => {
    onAttached({ epoch, facts: FACTS });
    return Promise.resolve(new FakeStream());
  };

const fails =
  (code: OperationalError['code']): Welcome =>
  () =>
    Promise.reject(new OperationalError(code, `Cannot attach: ${code}`));

const hangs: Welcome = () => new Promise(() => {});

const busy: Welcome = (_onAttached, { extend }) => {
  extend(30_000);
  return new Promise(() => {});
};

function attempts(of: FakeCompanionEndpoint): readonly number[] {
  return of.hellos.map(({ atMs }) => atMs);
}

describe('Attachment', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let stopping: AbortController;
  let learnt: ControlPlaneFacts[];
  let attachments: CompanionAttachment[];

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    stopping = new AbortController();
    learnt = [];
    attachments = [];
  });

  afterEach(async () => {
    for (const made of attachments) made.close();
    await clock.settle();
    expect(clock.armed, 'timers left armed').toBe(0);
  });

  function companion(url: string, ...welcomes: readonly Welcome[]): FakeCompanionEndpoint {
    return new FakeCompanionEndpoint(clock, url, welcomes);
  }

  /** Answers after a time. */
  const late =
    (afterMs: number, attached: Attached): Welcome =>
    async (onAttached, { signal }) => {
      await new Promise<void>((resolve, reject) => {
        const disarm = clock.after(afterMs, resolve);
        signal.addEventListener('abort', () => {
          disarm();
          reject(signal.reason as Error);
        });
      });
      onAttached(attached);
      return new FakeStream();
    };

  function attachment(...companions: readonly FakeCompanionEndpoint[]): CompanionAttachment {
    const made = new CompanionAttachment({
      clock,
      events: agentEvents(log),
      random: () => 0.5,
      companions,
      hello: { departure: DEPARTURE, deletable: true, resource: undefined },
      learn: (facts) => learnt.push(facts),
    });
    attachments.push(made);
    return made;
  }

  async function begin(
    made: CompanionAttachment,
    budgetMs = 900,
  ): Promise<{ readonly epoch: number | undefined; readonly atMs: number }> {
    let begun: { readonly epoch: number | undefined; readonly atMs: number } | undefined;
    void made.begin('agent', budgetMs, stopping.signal).then((epoch) => {
      begun = { epoch, atMs: clock.monotonicMs() };
    });
    await clock.passUntil(() => begun !== undefined);
    return begun ?? { epoch: undefined, atMs: Number.NaN };
  }

  test('waits for the epoch, and passes on what it learns of the control plane', async () => {
    const only = companion('a', attaches(7));
    expect(await begin(attachment(only))).toEqual({ epoch: 7, atMs: 0 });
    expect(learnt).toEqual([FACTS]);
    expect(log.events).toEqual(['companion.attached']);
    expect(only.hellos[0]?.hello).toEqual({
      departure: DEPARTURE,
      deletable: true,
      resource: undefined,
      owner: 'agent',
      status: { phase: 'starting', serving: false },
    });
  });

  test('waits no longer than it may, and attaches later all the same', async () => {
    const only = companion('a', hangs, attaches(7));
    const made = attachment(only);
    expect(await begin(made)).toEqual({ epoch: undefined, atMs: 900 });
    await clock.passUntil(() => only.streams.length === 1);
    expect(attempts(only)).toEqual([0, 20_100]);
    expect(log.events).toEqual(['companion.lost', 'companion.attached']);
  });

  test('keeps its stream to a companion for as long as that one asked for, and no longer', async () => {
    const only = companion('a', busy, attaches(7));
    expect(await begin(attachment(only))).toEqual({ epoch: undefined, atMs: 900 });
    await clock.passUntil(() => only.streams.length === 1);
    expect(attempts(only)).toEqual([0, 30_100]);
  });

  test('a start does not wait for a busy companion while there is another one', async () => {
    const [first, second] = [companion('a', busy), companion('b', attaches(2))];
    expect(await begin(attachment(first, second))).toEqual({ epoch: 2, atMs: 450 });
  });

  test('waits no longer once every companion has refused, and attaches later all the same', async () => {
    const first = companion('a', fails('ENDPOINT_UNREACHABLE'), attaches(7));
    const second = companion('b', fails('ENDPOINT_UNTRUSTED'));
    expect(await begin(attachment(first, second))).toEqual({ epoch: undefined, atMs: 100 });
    await clock.passUntil(() => first.streams.length === 1);
  });

  test('waits no longer once a stop has begun', async () => {
    const made = attachment(companion('a', hangs));
    clock.after(100, () => {
      stopping.abort(new Error('stop'));
    });
    expect(await begin(made)).toEqual({ epoch: undefined, atMs: 100 });
  });

  test('a companion whose store is out of reach gives no epoch, but is not left', async () => {
    const only = companion('a', attaches(undefined));
    expect(await begin(attachment(only))).toEqual({ epoch: undefined, atMs: 900 });
    expect(log.events).toEqual(['companion.degraded']);
    expect(attempts(only)).toEqual([0]);
  });

  test('while a start waits, a silent companion is soon left for the next', async () => {
    const [silent, quick] = [companion('a', hangs), companion('b', attaches(2))];
    expect(await begin(attachment(silent, quick))).toEqual({ epoch: 2, atMs: 450 });
    expect([attempts(silent), attempts(quick)]).toEqual([[0], [450]]);
  });

  test('once no start waits for it, it waits longer for each', async () => {
    const [first, second] = [companion('a', fails('ENDPOINT_UNREACHABLE')), companion('b', attaches(2))];
    await begin(attachment(first, second));
    second.streams[0]?.end(lost());
    await clock.passUntil(() => first.hellos.length === 2);
    await clock.passUntil(() => second.hellos.length === 2);
    first.welcome(hangs);
    second.streams[1]?.end(lost());
    await clock.passUntil(() => second.hellos.length === 3);
    const [, , silentAtMs = 0] = attempts(first);
    expect((attempts(second)[2] ?? 0) - silentAtMs).toBeGreaterThan(5_000);
  });

  test('a companion without another beside it has 20 s to answer', async () => {
    const only = companion('a', late(19_000, { epoch: 7, facts: FACTS }));
    const made = attachment(only);
    await begin(made);
    await clock.pass(19_000);
    expect(attempts(only)).toEqual([0]);
    expect(made.standing).toEqual({ attached: true, epoch: 7 });
  });

  test("an epoch that comes after the store's return counts as well", async () => {
    const only = companion('a', (onAttached) => {
      onAttached({ epoch: undefined, facts: FACTS });
      clock.after(300, () => {
        onAttached({ epoch: 9, facts: FACTS });
      });
      return Promise.resolve(new FakeStream());
    });
    expect(await begin(attachment(only))).toEqual({ epoch: 9, atMs: 300 });
    expect(log.events).toEqual(['companion.degraded', 'companion.attached']);
  });

  test('goes to the next one where one fails', async () => {
    const [down, up] = [companion('a', fails('ENDPOINT_UNREACHABLE')), companion('b', attaches(2))];
    expect(await begin(attachment(down, up))).toEqual({ epoch: 2, atMs: 100 });
  });

  test('comes back as the same incarnation after a cut, with its phase', async () => {
    const only = companion('a', attaches(7));
    const made = attachment(only);
    await begin(made);
    made.onPhase('running');
    made.onServing();
    await clock.pass(60_000);
    only.streams[0]?.end(lost());
    await clock.passUntil(() => only.streams.length === 2);
    expect(attempts(only)).toEqual([0, 60_100]);
    expect(only.hellos[1]?.hello).toMatchObject({
      departure: DEPARTURE,
      status: { phase: 'running', serving: true },
    });
    // The greeting has no word for it.
    expect(only.streams[1]?.told).toEqual([{ phase: 'running', serving: true }]);
    expect(log.events).toEqual(['companion.attached', 'companion.resumed']);
  });

  test('a stream that stood and cannot be opened again: the loss is reported, then what follows', async () => {
    const [first, second] = [companion('a', attaches(7)), companion('b', attaches(7))];
    await begin(attachment(first, second));
    await clock.pass(60_000);
    first.streams[0]?.end(lost());
    await clock.passUntil(() => second.streams.length === 1);
    expect(log.events).toEqual(['companion.attached', 'companion.lost', 'companion.attached']);
    expect(log.lines.map(({ fields }) => fields?.['url'])).toEqual(['a', 'a', 'b']);
  });

  test('an attempt that fails reports the loss before it, once', async () => {
    const only = companion('a', attaches(7));
    await begin(attachment(only));
    await clock.pass(60_000);
    only.welcome(fails('ENDPOINT_UNREACHABLE'));
    only.streams[0]?.end(lost('ENDPOINT_BUSY'));
    await clock.pass(60_000);
    expect(log.events).toEqual(['companion.attached', 'companion.lost']);
  });

  test('a stream that stood for less than 5 s is reported at once', async () => {
    const only = companion('a', attaches(7));
    await begin(attachment(only));
    await clock.pass(4_000);
    only.streams[0]?.end(lost());
    await clock.passUntil(() => only.streams.length === 2);
    expect(log.events).toEqual(['companion.attached', 'companion.lost', 'companion.attached']);
  });

  test('another epoch is reported: the store has forgotten this run', async () => {
    const only = companion('a', attaches(7), attaches(9));
    await begin(attachment(only));
    await clock.pass(60_000);
    only.streams[0]?.end(lost());
    await clock.passUntil(() => only.streams.length === 2);
    expect(log.events).toEqual(['companion.attached', 'companion.lost', 'companion.attached']);
  });

  test('something is said at least every 45 s, also where nothing changes', async () => {
    const only = companion('a', attaches(7));
    const made = attachment(only);
    await begin(made);
    made.onPhase('running');
    await clock.pass(600_000);
    expect(only.streams[0]?.told.length).toBeGreaterThanOrEqual(Math.floor(600 / 45));
    expect(new Set(only.streams[0]?.told.map(({ phase }) => phase))).toEqual(new Set(['running']));
  });

  test('an agent that the companion asks sends nothing on its own', async () => {
    const only = companion('a', attaches(7));
    await begin(attachment(only));
    for (let asked = 0; asked < 20; asked += 1) {
      await clock.pass(35_000);
      only.streams[0]?.answer();
    }
    expect(only.streams[0]?.told).toEqual([]);
    await clock.pass(40_000);
    expect(only.streams[0]?.told).toHaveLength(1);
  });

  test('backs off from a companion that ends every stream', async () => {
    const only = companion('a', attaches(7));
    await begin(attachment(only));
    for (let cuts = 1; cuts <= 9; cuts += 1) {
      only.streams.at(-1)?.end(lost());
      await clock.passUntil(() => only.streams.length > cuts);
    }
    const pauses = attempts(only).map((atMs, at, all) => atMs - (all[at - 1] ?? 0));
    expect(pauses).toEqual([0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  });

  test('goes elsewhere when it is asked to', async () => {
    const [leaving, staying] = [companion('a', attaches(3)), companion('b', attaches(3))];
    await begin(attachment(leaving, staying));
    leaving.streams[0]?.end({ kind: 'redirected', reason: 'it stops' });
    await clock.passUntil(() => staying.streams.length === 1);
    expect(log.events).toEqual(['companion.attached', 'companion.redirected', 'companion.attached']);
  });

  test('asks less and less often once a newer incarnation has the name, and says so once', async () => {
    const only = companion('a', fails('DATAPLANE_FOREIGN'));
    expect(await begin(attachment(only))).toEqual({ epoch: undefined, atMs: 0 });
    await clock.pass(20_000);
    expect(attempts(only)).toEqual([0, 1_000, 3_000, 7_000, 12_000, 17_000]);
    expect(log.events).toEqual(['name.superseded']);
  });

  test('says once that no companion answers', async () => {
    const only = companion('a', fails('ENDPOINT_UNREACHABLE'));
    await begin(attachment(only));
    await clock.pass(120_000);
    expect(only.hellos.length).toBeGreaterThan(10);
    expect(log.events).toEqual(['companion.lost']);
  });

  test('tells each change once, and serves only while it runs', async () => {
    const only = companion('a', attaches(1));
    const made = attachment(only);
    await begin(made);
    made.onPhase('running');
    made.onPhase('running');
    made.onServing();
    made.onPhase('deregistering');
    made.onPhase('draining');
    expect(only.streams[0]?.told).toEqual([
      { phase: 'running', serving: false },
      { phase: 'running', serving: true },
      { phase: 'deregistering', serving: false },
      { phase: 'draining', serving: false },
    ]);
  });

  test('a changed owner is reported at once, on a new stream', async () => {
    const only = companion('a', attaches(1));
    const made = attachment(only);
    await begin(made);
    made.confirmOwner('cp');
    await clock.settle();
    expect(only.hellos.map(({ hello, atMs }) => [hello.owner, atMs])).toEqual([
      ['agent', 0],
      ['cp', 0],
    ]);
    expect(log.events).toEqual(['companion.attached', 'companion.attached']);
  });

  test('an attempt under way that names the wrong owner keeps its place, and a companion of 0.1.0 is attached to anew', async () => {
    const only = companion('a', late(1_500, { epoch: 1, facts: FACTS }), attaches(1));
    const made = attachment(only);
    await begin(made);
    made.confirmOwner('cp');
    await clock.pass(1_000);
    expect(only.hellos.map(({ hello, atMs }) => [hello.owner, atMs])).toEqual([
      ['agent', 0],
      ['cp', 1_500],
    ]);
  });

  test('a companion that answers late is told on the same stream who owns the object by then', async () => {
    const only = companion('a', late(1_500, { epoch: 7, facts: FACTS, takesOwner: true }));
    const made = attachment(only);
    await begin(made);
    made.confirmOwner('cp');
    await clock.pass(5_000);
    expect(attempts(only)).toEqual([0]);
    expect(only.streams[0]?.owners).toEqual(['cp']);
    expect(made.standing).toEqual({ attached: true, epoch: 7 });
  });

  test('a companion that has answered is told on the same stream, and a stream that follows says it in its hello', async () => {
    const only = companion('a', late(0, { epoch: 7, facts: FACTS, takesOwner: true }));
    const made = attachment(only);
    await begin(made);
    made.confirmOwner('cp');
    made.confirmOwner('cp');
    expect(only.streams[0]?.owners).toEqual(['cp']);
    only.streams[0]?.end(lost());
    await clock.pass(1_000);
    expect(only.hellos.map(({ hello }) => hello.owner)).toEqual(['agent', 'cp']);
    expect(only.streams[1]?.owners).toEqual([]);
  });

  test('an owner that stays the same changes nothing', async () => {
    const only = companion('a', attaches(1));
    const made = attachment(only);
    await begin(made);
    made.confirmOwner('agent');
    await clock.settle();
    expect(attempts(only)).toEqual([0]);
  });

  async function finish(
    hears: boolean,
  ): Promise<{ readonly reports: readonly string[]; readonly atMs: number }> {
    const only = companion('a', attaches(1));
    const made = attachment(only);
    await begin(made);
    const [stream] = only.streams;
    if (stream === undefined) throw new TypeError('No stream');
    stream.hears = hears;
    let atMs: number | undefined;
    void made.finish({ report: '{}', keep: false }).then(() => {
      atMs = clock.monotonicMs();
    });
    await clock.passUntil(() => atMs !== undefined);
    stream.end(lost());
    await clock.pass(60_000);
    expect(attempts(only), 'attached again').toEqual([0]);
    return { reports: stream.reports, atMs: atMs ?? Number.NaN };
  }

  describe('the last message', () => {
    test('are said, and the agent does not attach again', async () => {
      expect(await finish(true)).toEqual({ reports: ['{}'], atMs: 0 });
    });

    test('delay the end by 100 ms at most', async () => {
      expect(await finish(false)).toEqual({ reports: ['{}'], atMs: 100 });
    });

    test('are dropped where no companion listens', async () => {
      const made = attachment(companion('a', hangs));
      await begin(made);
      const nowMs = clock.monotonicMs();
      await made.finish({ report: '{}', keep: false });
      expect(clock.monotonicMs()).toBe(nowMs);
    });
  });
});
