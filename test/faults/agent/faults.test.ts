import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { type AgentProcess } from '../../support/agent-process.ts';
import { sendSignal } from '../../support/world/processes.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { ControlPlane, TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { freePort } from '../../support/world/free-port.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { answer, FAULTS, KINDS } from './fault-kinds.ts';

let bad: ControlPlane;
let good: ControlPlane;

beforeAll(async () => {
  bad = await ControlPlane.start();
  // Another instance of the same zone: one database behind both.
  good = await ControlPlane.start({}, bad.store);
});

afterAll(async () => {
  await Promise.all([bad[Symbol.asyncDispose](), good[Symbol.asyncDispose]()]);
});

const REPORT_MARGIN_MS = 250;
const BUDGET_MS = 4_000;
/** kuma-dp's own, and so the floor of a drain whose object still exists: more than a moment of quiet. */
const DRAIN_MS = 700;
const LONG_DRAIN_MS = 1_500;
const EXIT = { code: 5 };
/** Timers of two processes are compared, and the agent looks at kuma-dp's readiness before it tells it to drain. */
const SLACK_MS = 230;

interface Started {
  readonly scene: SignalScene;
  readonly agent: AgentProcess;
}

interface FaultOptions {
  readonly budgetMs: number;
  readonly options?: readonly string[];
  readonly drainMs?: number;
}

function open(endpoints: readonly string[], faultOptions: FaultOptions): SignalScene {
  const { budgetMs, options = [], drainMs = DRAIN_MS } = faultOptions;
  return new SignalScene({
    controlPlane: bad,
    child: { contract: 'kuma', envoy: 'admin', drainMs, exit: EXIT },
    endpoints,
    options: [`--stop-budget=${budgetMs}ms`, '--settle=150ms', ...options],
    kumaDpOptions: [`--drain-time=${drainMs}ms`],
  });
}

/** What holds however bad the faultOptions is. */
async function stop({ scene, agent }: Started, budgetMs: number): Promise<void> {
  expect(scene.isThere).toBe(true);
  agent.signal('SIGTERM');
  expect(await agent.exited, agent.stderr).toEqual({ code: EXIT.code, signal: null });
  expect(agent.report.totalMs).toBeLessThanOrEqual(budgetMs + REPORT_MARGIN_MS);
  expect(agent.report.exit).toEqual({ code: EXIT.code, signal: null });
  expect(agent.seen('agent.failed')).toEqual([]);
  expect(scene.child.signals('SIGTERM').length).toBeGreaterThan(0);
}

function deregistration({ report }: AgentProcess): Readonly<Record<string, unknown>> {
  const [first] = report.steps;
  if (first?.step !== 'deregister')
    throw new Error(`No deregistration first: ${JSON.stringify(report.steps)}`);
  return { outcome: first.outcome, ...first.detail };
}

/** kuma-dp drained as long as it wanted: it was not told to end early. A second signal at the end can do no harm. */
function expectFullDrain(scene: SignalScene, drainMs = DRAIN_MS): void {
  const [drain, end] = scene.child.signals('SIGTERM');
  const [exiting] = scene.child.seen('exiting');
  const startedAtMs = drain?.atMs ?? Infinity;
  const endedAtMs = Math.min(exiting?.atMs ?? 0, end?.atMs ?? Infinity);
  expect(endedAtMs - startedAtMs).toBeGreaterThanOrEqual(drainMs - SLACK_MS);
}

function expectFailed({ scene, agent }: Started): void {
  expect(deregistration(agent)).toMatchObject({ outcome: 'failed' });
  expect(agent.seen('deregistration.failed')).toHaveLength(1);
  expect(agent.report.steps.map(({ step }) => step)).not.toContain('settle');
  expect(scene.isThere).toBe(true);
}

function expectGone({ scene, agent }: Started): void {
  expect(deregistration(agent)).toMatchObject({ outcome: 'gone' });
  expect(scene.isThere).toBe(false);
  // kuma-dp is not kept waiting for an answer that is late: then the drain covers what settle would have.
  const next = agent.seen('deregistration.late').length === 0 ? 'settle' : 'drain';
  expect(agent.report.steps.map(({ step }) => step)).toContain(next);
}

describe.concurrent('with one endpoint that answers wrongly', () => {
  test.for(KINDS)('$name: kuma-dp drains as without an agent', async ({ action, retried }) => {
    // Where it fails at once, there is time for a drain that is clearly longer than a moment of quiet.
    const drainMs = retried ? DRAIN_MS : LONG_DRAIN_MS;
    await using scene = open([bad.httpUrl], { budgetMs: BUDGET_MS, drainMs });
    bad.faults.add({ path: scene.path, action });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectFailed({ scene, agent });
    expectFullDrain(scene, drainMs);
    expect(Number(deregistration(agent)['attempts']) > 1).toBe(retried);
    expect(scene.requests('DELETE')).toEqual([]);
  });
});

describe.concurrent('with a bad endpoint and a good one', () => {
  test.for(KINDS)('$name: the agent deregisters at the good one', async ({ action }) => {
    await using scene = open([bad.httpUrl, good.httpUrl], { budgetMs: BUDGET_MS });
    bad.faults.add({ path: scene.path, action });
    const agent = await scene.start();
    await scene.untilRunning(agent, 2);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(deregistration(agent)).toMatchObject({ endpoint: good.httpUrl, reason: 'deleted' });
  });

  test.for(['500', '401', 'no answer'])('%s at both: the stop reports a failure', async (name) => {
    await using scene = open([bad.httpUrl, good.httpUrl], { budgetMs: BUDGET_MS });
    const action = FAULTS.find((fault) => fault.name === name)?.action ?? answer(500);
    for (const { faults } of [bad, good]) faults.add({ path: scene.path, action });
    const agent = await scene.start();
    await scene.untilRunning(agent, 2);
    await stop({ scene, agent }, BUDGET_MS);
    expectFailed({ scene, agent });
    expectFullDrain(scene);
    expect(Number(deregistration(agent)['attempts'])).toBeGreaterThanOrEqual(2);
  });
});

describe.concurrent('with an endpoint that recovers', () => {
  test.for(KINDS.filter(({ retried }) => retried))(
    '$name twice: gone with the next attempt',
    async ({ action, name }) => {
      await using scene = open([bad.httpUrl], { budgetMs: 8_000 });
      // An attempt that hangs takes a share of its own; there is time for one of these.
      const times = action.kind === 'hang' || name.includes('Retry-After') ? 1 : 2;
      const agent = await scene.start();
      await scene.untilRunning(agent);
      // A running agent looks at its object once, and would meet one of these.
      await waitUntil(() => bad.journal.matching('GET', new RegExp(scene.path)).length > 0, {
        what: 'a look',
      });
      bad.faults.add({ path: scene.path, times, action });
      await stop({ scene, agent }, 8_000);
      expectGone({ scene, agent });
      expect(Number(deregistration(agent)['attempts'])).toBeGreaterThan(times);
      expect(scene.deletions).toHaveLength(1);
    },
  );

  test.for(['GET', 'DELETE'])('the agent deregisters although %s fails now and then', async (method) => {
    await using scene = open([bad.httpUrl], { budgetMs: BUDGET_MS });
    for (const action of [answer(500), { kind: 'reset' }] as const) {
      bad.faults.add({ method, path: scene.path, times: 1, action });
    }
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(scene.deletions.length + scene.requests('GET').length).toBeGreaterThan(1);
  });
});

describe.concurrent('when the control plane deletes and its answer is lost', () => {
  test.for([
    { name: 'reset', action: { kind: 'reset-after' } },
    { name: 'cut in half', action: { kind: 'half-body' } },
  ] as const)('$name: the agent reads the object again and reports success', async ({ action }) => {
    await using scene = open([bad.httpUrl], { budgetMs: BUDGET_MS });
    bad.faults.add({ method: 'DELETE', path: scene.path, times: 1, action });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(scene.deletions).toHaveLength(1);
    expect(deregistration(agent)).toMatchObject({ reason: 'already gone' });
  });
});

describe.concurrent('redirects', () => {
  test('the agent follows none, and sends no credential to their target', async () => {
    const asked: string[] = [];
    const elsewhere = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`);
      response.end('{}');
    });
    const port = await freePort();
    await new Promise<void>((resolve) => {
      elsewhere.listen(port, '127.0.0.1', resolve);
    });
    try {
      await using scene = open([bad.httpUrl], { budgetMs: BUDGET_MS });
      for (const status of [301, 302, 307, 308]) {
        const location = `http://127.0.0.1:${port}/meshes/default/dataplanes/${scene.name}`;
        bad.faults.add({ path: scene.path, times: 1, action: answer(status, { location }) });
      }
      const agent = await scene.start();
      await scene.untilRunning(agent);
      await stop({ scene, agent }, BUDGET_MS);
      expectFailed({ scene, agent });
      expectFullDrain(scene);
      expect(deregistration(agent)['attempts']).toBe(1);
      expect(asked).toEqual([]);
    } finally {
      elsewhere.close();
    }
  });
});

describe.concurrent('on a faulty network', () => {
  test('no process listens: the start does not wait, and the stop drains', async () => {
    await using scene = open([`http://127.0.0.1:${await freePort()}`], { budgetMs: BUDGET_MS });
    const agent = await scene.start();
    await scene.untilRunning(agent, 0);
    await agent.waitForEvent('endpoint.lost');
    await stop({ scene, agent }, BUDGET_MS);
    expectFailed({ scene, agent });
    expectFullDrain(scene);
    expect(scene.requests('GET')).toEqual([]);
  });

  test('a black hole from the beginning: the start does not wait, and the stop drains', async () => {
    await using proxy = await FaultProxy.start(bad.httpUrl, { kind: 'silence' });
    await using scene = open([proxy.url()], { budgetMs: BUDGET_MS });
    const agent = await scene.start();
    await scene.untilRunning(agent, 0);
    await stop({ scene, agent }, BUDGET_MS);
    expectFailed({ scene, agent });
    expectFullDrain(scene);
    expect(scene.requests('GET')).toEqual([]);
  });

  test.for([
    { mode: { kind: 'silence' }, outcome: 'failed' },
    { mode: { kind: 'refuse' }, outcome: 'failed' },
    { mode: { kind: 'reset' }, outcome: 'failed' },
    { mode: { kind: 'delay', delayMs: 150 }, outcome: 'gone' },
  ] as const)('the warm connection becomes $mode.kind: the stop drains', async ({ mode, outcome }) => {
    await using proxy = await FaultProxy.start(bad.httpUrl);
    await using scene = open([proxy.url()], { budgetMs: BUDGET_MS });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await proxy.become(mode);
    await stop({ scene, agent }, BUDGET_MS);
    expect(deregistration(agent)['outcome']).toBe(outcome);
    expect(scene.isThere).toBe(outcome === 'failed');
  });

  test('the agent replaces a warm connection that died silently', async () => {
    await using proxy = await FaultProxy.start(bad.httpUrl);
    // The second attempt continues beside the drain, which ends once that attempt has a result.
    await using scene = open([proxy.url()], { budgetMs: 50_000, drainMs: 40_000 });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    const warm = proxy.accepted;
    await proxy.become({ kind: 'silence' });
    agent.signal('SIGTERM');
    await waitUntil(() => proxy.accepted > warm, { what: 'another request' });
    await proxy.become({ kind: 'pass' });
    await agent.waitForEvent('dataplane.deregistered');
    sendSignal(scene.child.pid, 'SIGTERM');
    expect(await agent.exited).toEqual({ code: EXIT.code, signal: null });
    expectGone({ scene, agent });
    expect(scene.deletions).toHaveLength(1);
  });

  test('a cut warm connection costs one new connection and nothing else', async () => {
    await using proxy = await FaultProxy.start(bad.httpUrl);
    await using scene = open([proxy.url()], { budgetMs: BUDGET_MS });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await proxy.become({ kind: 'reset' });
    await proxy.become({ kind: 'pass' });
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(scene.deletions).toHaveLength(1);
  });

  test('the agent asks the second endpoint while the first is silent', async () => {
    await using proxy = await FaultProxy.start(bad.httpUrl, { kind: 'silence' });
    await using scene = open([proxy.url(), good.httpUrl], { budgetMs: BUDGET_MS });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(deregistration(agent)).toMatchObject({ endpoint: good.httpUrl });
  });

  test('answers are lost until the network heals: the agent deletes the object once', async () => {
    await using proxy = await FaultProxy.start(bad.httpUrl);
    await using scene = open([proxy.url()], { budgetMs: 8_000 });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await proxy.become({ kind: 'drop-answers' });
    agent.signal('SIGTERM');
    await waitUntil(() => scene.requests('GET').length > 1, { what: 'another request' });
    await proxy.become({ kind: 'pass' });
    expect(await agent.exited).toEqual({ code: EXIT.code, signal: null });
    expectGone({ scene, agent });
    expect(scene.deletions).toHaveLength(1);
  });
});

function caFile(name: string): string {
  return `--ca-file=${join(TLS_FIXTURES, name)}`;
}

describe.concurrent('TLS', () => {
  test('the agent deregisters at an endpoint with the right certificate', async () => {
    await using scene = open([good.httpsUrl], { budgetMs: BUDGET_MS, options: [caFile('ca.crt')] });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(deregistration(agent)).toMatchObject({ endpoint: good.httpsUrl });
  });

  test.for([
    { what: 'a certificate for another name', certificate: 'wrong-name', ca: 'ca.crt' },
    { what: 'an expired certificate', certificate: 'expired', ca: 'ca.crt' },
    { what: 'an unknown CA', certificate: 'server', ca: 'other-ca.crt' },
  ] as const)('$what: the agent sends nothing, and tries the endpoint once', async ({ certificate, ca }) => {
    await using controlPlane = await ControlPlane.start({ certificate }, bad.store);
    await using scene = open([controlPlane.httpsUrl], {
      budgetMs: BUDGET_MS,
      options: [caFile(ca)],
      drainMs: LONG_DRAIN_MS,
    });
    const agent = await scene.start();
    await scene.untilRunning(agent, 0);
    await agent.waitForEvent('endpoint.lost');
    await stop({ scene, agent }, BUDGET_MS);
    expectFailed({ scene, agent });
    expectFullDrain(scene, LONG_DRAIN_MS);
    expect(deregistration(agent)['attempts']).toBe(1);
    expect(controlPlane.journal.requests).toEqual([]);
  });

  test('the agent deregisters at the second endpoint when the first has the wrong certificate', async () => {
    await using wrong = await ControlPlane.start({ certificate: 'expired' }, bad.store);
    await using scene = open([wrong.httpsUrl, good.httpsUrl], {
      budgetMs: BUDGET_MS,
      options: [caFile('ca.crt')],
    });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(deregistration(agent)).toMatchObject({ endpoint: good.httpsUrl });
  });

  test('the agent sends a user token to the control plane and nowhere else', async () => {
    const token = 'a-user-token';
    await using controlPlane = await ControlPlane.start({ userTokens: [token] }, bad.store);
    await using scene = open([controlPlane.httpUrl], {
      budgetMs: BUDGET_MS,
      options: [`--user-token-file=token`],
    });
    writeFileSync(scene.dir.join('token'), `${token}\n`);
    const agent = await scene.start({ cwd: scene.dir.path });
    await scene.untilRunning(agent);
    await stop({ scene, agent }, BUDGET_MS);
    expectGone({ scene, agent });
    expect(
      controlPlane.journal.matching('DELETE', /./).map(({ headers }) => headers['authorization']),
    ).toEqual([`Bearer ${token}`]);
    expect(agent.stderr).not.toContain(token);
  });
});
