import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { agentEvents } from '../../../../agent/events.ts';
import type { LookRequest } from '../../../../agent/ports.ts';
import type { Connecting } from '../../../../kernel/tcp-contact.ts';
import type { ConnectOutcome, LookFinding, Target } from '../../../../kernel/tcp-findings.ts';
import { LookingWitness } from '../../../../agent/witness/witness.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { FakeLog } from '../../../support/fake-log.ts';

const SUSPECT: Target = { address: '10.0.0.7', port: 8_080 };
const CONTROL: Target = { address: '10.0.0.8', port: 8_080 };
const CLOSED_PORT = 9;
const REFUSED: ConnectOutcome = { code: 'ECONNREFUSED' };

interface Connect {
  readonly to: string;
  readonly atMs: number;
  isClosed: boolean;
}

describe('a witness', () => {
  let clock: FakeClock;
  let log: FakeLog;
  let connects: Connect[];
  let answers: Map<string, ConnectOutcome>;
  let witness: LookingWitness;

  beforeEach(() => {
    clock = new FakeClock();
    log = new FakeLog();
    connects = [];
    answers = new Map<string, ConnectOutcome>([
      [nameOf(CONTROL), 'accepted'],
      [nameOf({ ...CONTROL, port: CLOSED_PORT }), REFUSED],
    ]);
    witness = new LookingWitness({
      clock,
      events: agentEvents(log),
      connect,
      ownAddresses: () => Promise.resolve(new Set(['10.0.0.1'])),
    });
  });

  afterEach(() => {
    expect(clock.armed, 'timers left armed').toBe(0);
    expect(connects.filter(({ isClosed }) => !isClosed)).toEqual([]);
  });

  function connect(target: Target): Connecting {
    const made: Connect = { to: nameOf(target), atMs: clock.monotonicMs(), isClosed: false };
    connects.push(made);
    const outcome = answers.get(made.to) ?? 'no answer';
    return {
      settled: outcome === 'no answer' ? new Promise(() => {}) : Promise.resolve(),
      outcome: () => outcome,
      close: () => {
        made.isClosed = true;
      },
    };
  }

  async function look(
    change: Partial<LookRequest> = {},
  ): Promise<{ findings: readonly LookFinding[]; tookMs: number }> {
    const begunMs = clock.monotonicMs();
    let findings: readonly LookFinding[] | undefined;
    const request = {
      targets: [SUSPECT],
      control: CONTROL,
      closedPort: CLOSED_PORT,
      timeoutMs: 3_000,
      ...change,
    };
    void witness.look(request).then((found) => {
      findings = found;
    });
    await clock.passUntil(() => findings !== undefined);
    await clock.settle();
    return { findings: findings ?? [], tookMs: clock.monotonicMs() - begunMs };
  }

  async function resultOf(change: Partial<LookRequest> = {}): Promise<string | undefined> {
    return (await look(change)).findings[0]?.result;
  }

  test('connects twice, 350 ms apart, and to the control before and after', async () => {
    const { findings, tookMs } = await look();
    expect(findings).toEqual([{ target: SUSPECT, result: 'silent', reason: '' }]);
    expect(tookMs).toBeLessThan(750);
    expect(connects.filter(({ to }) => to === nameOf(SUSPECT)).map(({ atMs }) => atMs)).toEqual([0, 350]);
    const order = connects.map(({ to }) => to);
    expect(order[0]).toBe(nameOf(CONTROL));
    expect(order.at(-1)).toBe(nameOf(CONTROL));
    expect(order).toContain(nameOf({ ...CONTROL, port: CLOSED_PORT }));
  });

  test('says at once that a target is reached, and after 100 ms that it is refused', async () => {
    answers.set(nameOf(SUSPECT), 'accepted');
    answers.delete(nameOf({ ...CONTROL, port: CLOSED_PORT }));
    expect((await look({ control: undefined, closedPort: undefined })).tookMs).toBe(0);
    answers.set(nameOf(SUSPECT), REFUSED);
    const refused = await look({ control: undefined, closedPort: undefined });
    expect(refused.findings[0]?.result).toBe('refused');
    expect(refused.tookMs).toBeLessThan(110);
  });

  test('looks at every port, and says of each what it found, in their order', async () => {
    const ports = [8_080, 8_081, 8_082].map((port) => ({ ...SUSPECT, port }));
    answers.set('10.0.0.7:8081', 'accepted');
    answers.set('10.0.0.7:8082', REFUSED);
    const { findings, tookMs } = await look({ targets: ports });
    expect(findings.map(({ target, result }) => [target.port, result])).toEqual([
      [8_080, 'silent'],
      [8_081, 'reached'],
      [8_082, 'refused'],
    ]);
    expect(tookMs, 'all at once').toBeLessThan(750);
  });

  test('does not look at all while it does not reach the control', async () => {
    answers.delete(nameOf(CONTROL));
    expect(await resultOf()).toBe('unable');
    expect(connects.map(({ to }) => to)).not.toContain(nameOf(SUSPECT));
  });

  test('is unable where a port answers at which nothing listens, and says so once', async () => {
    answers.set(nameOf({ ...CONTROL, port: CLOSED_PORT }), 'accepted');
    answers.set(nameOf(SUSPECT), 'accepted');
    expect(await resultOf()).toBe('unable');
    expect(await resultOf()).toBe('unable');
    expect(log.events).toEqual(['witness.unable']);
  });

  test('is unable after a stall of its process', async () => {
    const looking = witness.look({
      targets: [SUSPECT],
      control: undefined,
      closedPort: undefined,
      timeoutMs: 5_000,
    });
    await clock.settle();
    clock.skip(600);
    await clock.pass(1_000);
    expect((await looking)[0]).toMatchObject({ result: 'unable', reason: 'this process stalled for 250 ms' });
  });

  test('is unable once its time is over, and ends its open connects', async () => {
    const { findings, tookMs } = await look({ timeoutMs: 200 });
    expect(findings[0]).toMatchObject({ result: 'unable', reason: 'the time for the look was over' });
    expect(tookMs).toBe(200);
  });

  test('refuses forbidden addresses and looks at the others', async () => {
    answers.set(nameOf(SUSPECT), 'accepted');
    const targets = ['127.0.0.1', SUSPECT.address, '169.254.169.254', '10.0.0.1'].map((address) => ({
      address,
      port: SUSPECT.port,
    }));
    const { findings } = await look({ targets });
    expect(findings.map(({ result }) => result)).toEqual(['unable', 'reached', 'unable', 'unable']);
    expect(new Set(connects.map(({ to }) => to.split(':')[0]))).toEqual(
      new Set([SUSPECT.address, CONTROL.address]),
    );
    await look({ targets });
    expect(log.events).toEqual(['look.refused']);
    expect(witness.counts).toEqual({ reached: 2, refused: 0, silent: 0, unable: 6, refusals: 2 });
  });

  test.for<[what: string, change: Partial<LookRequest>]>([
    ['nine ports', { targets: Array.from({ length: 9 }, (_, nth) => ({ ...SUSPECT, port: 8_080 + nth })) }],
    ['a control on loopback', { control: { address: '127.0.0.1', port: 80 } }],
    ['a control on this host', { control: { address: '10.0.0.1', port: 80 } }],
  ])('refuses a look with %s as a whole', async ([, change]) => {
    const { findings } = await look(change);
    expect(new Set(findings.map(({ result }) => result))).toEqual(new Set(['unable']));
    expect(connects).toEqual([]);
    expect(log.events).toEqual(['look.refused']);
  });

  test('asked a thousand times at once, makes a few looks and answers all', async () => {
    const requests = Array.from({ length: 1_000 }, (_, nth) => ({
      targets: [{ address: `10.1.${nth >> 8}.${nth % 256}`, port: 80 }],
      control: undefined,
      closedPort: undefined,
      timeoutMs: 3_000,
    }));
    let answered: readonly (readonly LookFinding[])[] = [];
    void Promise.all(requests.map((request) => witness.look(request))).then((all) => {
      answered = all;
    });
    await clock.passUntil(() => answered.length > 0);
    expect(answered.flat()).toHaveLength(1_000);
    expect(answered.flat().filter(({ result }) => result === 'silent').length).toBe(32);
    expect(new Set(connects.map(({ to }) => to)).size).toBe(32);
    expect(log.events).toEqual(['look.refused']);
  });
});

function nameOf({ address, port }: Target): string {
  return `${address}:${port}`;
}
