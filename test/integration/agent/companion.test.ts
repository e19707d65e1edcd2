import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { HostState } from '../../../agent/state/host-state.pure.ts';
import {
  ConfirmResponse_Verdict,
  DeregisterResponse_Outcome,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { type AgentProcess } from '../../support/agent-process.ts';
import { sendSignal } from '../../support/world/processes.ts';
import {
  attachedAs,
  FakeCompanion,
  Refusal,
  repliesOver,
  silent,
  type FakeCompanionOptions,
} from '../../support/fake-companion.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { ControlPlane, TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { SignalScene, type SceneOptions } from '../../support/signal-scene.ts';
import { AGENT } from '../../support/world/fleet.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { waitUntilServing } from '../../support/world/running-dataplane.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';
import { QuickWorld } from '../../support/kuma/quick-world.ts';
import { dataplaneCommand } from '../../support/world/dataplane-command.ts';

const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJOYW1lIjoid2ViLTEifQ.c2lnbmF0dXJl';
const OK = { code: 0, signal: null };

let controlPlane: ControlPlane;
let open: AsyncDisposableStack;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

beforeEach(() => {
  open = new AsyncDisposableStack();
});

afterEach(() => open.disposeAsync());

async function companion(options: FakeCompanionOptions = {}): Promise<FakeCompanion> {
  const { replies, ...rest } = options;
  return open.use(
    await FakeCompanion.start({ ...rest, replies: { ...repliesOver(controlPlane.httpUrl), ...replies } }),
  );
}

function scene(options: Partial<SceneOptions> & { readonly endpoints: readonly string[] }): SignalScene {
  const { kumaDpOptions = [], options: agentOptions = [], ...rest } = options;
  const made = open.use(
    new SignalScene({
      controlPlane,
      // Its Envoy cannot be asked, so it is taken to serve as soon as it is there.
      child: { contract: 'kuma', envoy: 'hidden', drainMs: 300 },
      options: agentOptions.length === 0 ? ['--stop-budget=6s', '--settle=50ms'] : agentOptions,
      kumaDpOptions: ['--drain-time=300ms', ...kumaDpOptions],
      put: false,
      ...rest,
    }),
  );
  writeFileSync(made.dir.join('token'), `${TOKEN}\n`);
  return made;
}

/** kuma-dp is given the token. */
async function start(made: SignalScene, env: Readonly<Record<string, string>> = {}): Promise<AgentProcess> {
  const argv = [...made.runArgv, `--dataplane-token-file=${made.dir.join('token')}`];
  const agent = await made.start({ argv, env });
  await made.child.waitFor('ready');
  return agent;
}

function deregistration({ report }: AgentProcess): Readonly<Record<string, unknown>> {
  const [first] = report.steps;
  if (first?.step !== 'deregister') throw new Error(`No deregistration first: ${JSON.stringify(report)}`);
  return { outcome: first.outcome, ...first.detail };
}

async function stop(agent: AgentProcess): Promise<void> {
  agent.signal('SIGTERM');
  expect(await agent.exited, agent.stderr).toEqual(OK);
  expect(agent.seen('agent.failed')).toEqual([]);
}

/** From the start of the agent to the start of kuma-dp. */
async function startDelayMs(agent: AgentProcess): Promise<number> {
  const [started, spawned] = [
    await agent.waitForEvent('agent.started'),
    await agent.waitForEvent('child.spawned'),
  ];
  return Date.parse(String(spawned['time'])) - Date.parse(String(started['time']));
}

describe('an agent with a companion as its only endpoint', () => {
  test('owns the object, and its stop deletes it, without access to the REST port', async () => {
    await using world = await QuickWorld.start();
    await using fake = await FakeCompanion.start({ replies: repliesOver(world.controlPlane.httpUrl) });
    const command = await dataplaneCommand({
      controlPlaneUrl: world.controlPlane.dataplaneUrl,
      name: 'web-1',
      servicePort: world.application.port,
      workDir: world.dir.join('web-1'),
      drainTime: '2s',
    });
    const token = world.dir.join('token');
    writeFileSync(token, TOKEN);
    await using agent = new ManagedProcess({
      command: AGENT,
      argv: [
        'run',
        `--endpoint=${fake.url}`,
        `--state-dir=${world.dir.join('state')}`,
        '--',
        command.command,
        ...command.argv,
        `--dataplane-token-file=${token}`,
      ],
      env: command.env,
    });
    await waitUntilServing(command.inboundPort);
    await waitUntil(() => fake.streams[0]?.phases.some(({ serving }) => serving), { what: 'serving' });
    await waitUntil(() => fake.seen('register').length === 2, { what: 'the object to be ready' });
    expect(world.find('web-1')?.labels).toHaveProperty(['kuma-dp-agent/incarnation']);
    expect(fake.streams[0]?.hello).toMatchObject({ owner: 2, deletable: true, phase: 'starting' });

    agent.signal('SIGTERM');
    expect(await agent.exited).toMatchObject(OK);
    expect(world.find('web-1')).toBeUndefined();
    expect(fake.streams).toHaveLength(1);
    const [stream] = fake.streams;
    const phases = stream?.phases.map(({ phase }) => phase).filter((phase, at, all) => phase !== all[at - 1]);
    expect(phases).toEqual(['running', 'deregistering', 'settling', 'draining', 'exiting']);
    expect(JSON.parse(stream?.reports[0] ?? '{}')).toMatchObject({
      schema: 1,
      lifecycle: 'agent',
      steps: [{ step: 'deregister', outcome: 'gone' }, { step: 'settle' }, {}, {}, { outcome: 'gone' }],
    });
    expect(fake.calls.every((call) => call.token === TOKEN)).toBe(true);
    expect(agent.stderr).not.toContain(TOKEN);
  });

  test('settles for the time that the companion names', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url], options: ['--settle=auto'] });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    await stop(agent);
    const settle = agent.report.steps.find(({ step }) => step === 'settle');
    // 50 ms and the margin for the delivery; Kuma's own default would be 2.25 s.
    expect(settle?.durationMs).toBeGreaterThan(250);
    expect(settle?.durationMs).toBeLessThan(1_500);
    expect(made.isThere).toBe(false);
  });

  test('connects over TLS with the CA of kuma-dp', async () => {
    const fake = await companion({ certificate: 'server' });
    const made = scene({
      endpoints: [fake.url],
      kumaDpOptions: [`--ca-cert-file=${join(TLS_FIXTURES, 'ca.crt')}`],
    });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({ outcome: 'gone', endpoint: fake.url });
    expect(agent.spoken.filter((line) => /warning/i.test(line))).toEqual([]);
    expect(fake.seen('deregister')).toMatchObject([{ token: TOKEN }]);
  });

  test('never sends the token to a companion with another’s certificate, and kuma-dp runs', async () => {
    const fake = await companion({ certificate: 'wrong-name' });
    const made = scene({
      endpoints: [fake.url],
      kumaDpOptions: [`--ca-cert-file=${join(TLS_FIXTURES, 'ca.crt')}`],
    });
    const agent = await start(made);
    await agent.waitForEvent('child.spawned');
    expect(await agent.waitForEvent('companion.lost')).toMatchObject({ err: { code: 'ENDPOINT_UNTRUSTED' } });
    expect(fake.streams).toEqual([]);
    expect(fake.calls).toEqual([]);
    await stop(agent);
  });

  test('GRPC_TRACE does not bring the token into the log', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url] });
    const agent = await start(made, { GRPC_TRACE: 'all', GRPC_VERBOSITY: 'DEBUG' });
    await agent.waitForEvent('companion.attached');
    await stop(agent);
    expect(fake.streams[0]?.token).toBe(TOKEN);
    expect(agent.stderr).not.toContain(TOKEN);
  });
});

describe('the start', () => {
  test.for(['auto', 'agent', 'cp'])(
    '--lifecycle %s waits less than a second for a companion that is silent, and attaches later',
    async (lifecycle) => {
      let patient = false;
      const fake = await companion({
        replies: { attach: (_hello, nth) => (patient ? attachedAs(nth) : silent()) },
      });
      const made = scene({ endpoints: [fake.url], options: [`--lifecycle=${lifecycle}`], put: true });
      const agent = await start(made);
      expect(await startDelayMs(agent)).toBeLessThan(1_400);
      await agent.waitForEvent('companion.missed');
      patient = true;
      fake.cut(status.UNAVAILABLE);
      await agent.waitForEvent('companion.attached');
      const owner = lifecycle === 'agent' ? 2 : 1;
      expect(fake.streams.at(-1)?.hello).toMatchObject({ owner });
      await stop(agent);
      expect(made.isThere).toBe(false);
    },
  );

  test('a companion that drops every packet costs no more time', async () => {
    const proxy = open.use(await FaultProxy.start('http://127.0.0.1:1', { kind: 'silence' }));
    const made = scene({ endpoints: [`grpc://127.0.0.1:${proxy.port}`], put: true });
    const agent = await start(made);
    expect(await startDelayMs(agent)).toBeLessThan(1_400);
    await agent.waitForEvent('companion.missed');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual(OK);
    expect(deregistration(agent)).toMatchObject({ outcome: 'failed' });
  });

  test('if the object cannot be put, the companion learns that the control plane owns it', async () => {
    const fake = await companion({ replies: { register: silent } });
    const agent = await start(scene({ endpoints: [fake.url], put: true }));
    await agent.waitForEvent('ownership.given-up');
    await waitUntil(() => fake.streams.length === 2, { what: 'a second greeting' });
    expect(fake.streams.map(({ hello }) => hello.owner)).toEqual([2, 1]);
    expect(new Set(fake.streams.map(({ hello }) => hello.incarnation?.id)).size).toBe(1);
    await stop(agent);
  });

  test('an invalid key does not keep kuma-dp from starting', async () => {
    const fake = await companion({ certificate: 'server' });
    const certificate = join(TLS_FIXTURES, 'server.crt');
    const made = scene({
      endpoints: [fake.url],
      options: [`--client-cert-file=${certificate}`, `--client-key-file=${certificate}`],
    });
    const agent = await start(made);
    expect(await agent.waitForEvent('dataplane.unknown')).toMatchObject({
      msg: expect.stringContaining(
        `Cannot use the client certificate "${certificate}" with the key`,
      ) as string,
    });
    await stop(agent);
  });

  test('a zone proxy uses the REST endpoint instead', async () => {
    const fake = await companion();
    const made = scene({
      endpoints: [fake.url, controlPlane.httpUrl],
      kumaDpOptions: ['--proxy-type=ingress'],
    });
    writeFileSync(
      made.resourceFile,
      JSON.stringify({ type: 'ZoneIngress', name: made.name, networking: { address: '127.0.0.1', port: 1 } }),
    );
    const agent = await start(made);
    await agent.waitForEvent('companion.bypassed');
    expect(await agent.waitForEvent('endpoint.reached')).toMatchObject({ url: controlPlane.httpUrl });
    await stop(agent);
    expect([fake.streams, fake.calls]).toEqual([[], []]);
  });
});

describe('an agent that runs', () => {
  test('comes back after a crash of the companion, as the same incarnation', async () => {
    const fake = await companion();
    const agent = await start(scene({ endpoints: [fake.url] }));
    await agent.waitForEvent('dataplane.ready');
    fake.crash();
    await agent.waitForEvent('companion.lost');
    await fake.resume();
    await agent.waitForEvent('companion.attached', { count: 2 });
    const ids = fake.streams.map(({ hello }) => hello.incarnation?.id);
    expect(ids).toEqual([ids[0], ids[0]]);
    expect(fake.streams[1]?.hello.phase).toBe('running');
    await stop(agent);
  });

  test('moves from one companion to the next on a redirect', async () => {
    const [first, second] = [await companion(), await companion()];
    const agent = await start(scene({ endpoints: [first.url, second.url] }));
    await agent.waitForEvent('dataplane.ready');
    first.send({ $case: 'redirected', value: { reason: 'this replica stops' } });
    await waitUntil(() => second.streams.length === 1, { what: 'the agent at the second' });
    expect(second.streams[0]?.hello.incarnation).toEqual(first.streams[0]?.hello.incarnation);
    await stop(agent);
    expect(agent.seen('companion.lost')).toEqual([]);
  });

  test('does not touch kuma-dp when a newer incarnation has the name', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url] });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    fake.replies.attach = () => {
      throw new Refusal(status.FAILED_PRECONDITION, 'epoch 7 has the name');
    };
    fake.replies.deregister = () => {
      throw new Refusal(status.FAILED_PRECONDITION, 'epoch 7 has the name');
    };
    fake.replies.confirm = () => ({ verdict: ConfirmResponse_Verdict.LEAVE, reason: 'epoch 7 has the name' });
    fake.cut(status.FAILED_PRECONDITION, 'epoch 7 has the name');
    await agent.waitForEvent('name.superseded');
    expect(made.child.signals('SIGTERM')).toEqual([]);
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({ outcome: 'kept' });
    expect(made.isThere).toBe(true);
  });
});

describe('a stop', () => {
  const ACCEPTED = {
    outcome: DeregisterResponse_Outcome.ACCEPTED,
    guard: '',
    reason: 'the control plane is away',
    durable: true,
  };

  test('is handed over if the companion cannot finish it in time', async () => {
    const fake = await companion({ replies: { deregister: () => ACCEPTED } });
    const made = scene({ endpoints: [fake.url], options: ['--stop-budget=3s'] });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({
      outcome: 'handed over',
      reason: `Dataplane default/${made.name} is not deleted yet: the control plane is away`,
      endpoint: fake.url,
    });
    expect(agent.seen('deregistration.failed')).toEqual([]);
    expect(agent.report.steps.map(({ step }) => step)).not.toContain('settle');
  });

  test('keeps the object if a guard refuses', async () => {
    const refused = {
      outcome: DeregisterResponse_Outcome.REFUSED,
      guard: 'newer-epoch',
      reason: 'epoch 7 has the name',
      durable: true,
    };
    const fake = await companion({ replies: { deregister: () => refused } });
    const made = scene({ endpoints: [fake.url, controlPlane.httpUrl] });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({
      outcome: 'kept',
      reason: `Dataplane default/${made.name} stays as it is: newer-epoch: epoch 7 has the name`,
    });
    expect(made.requests('DELETE').length).toBeLessThanOrEqual(1);
  });

  test.for(['a companion that hangs', 'a companion that went away', 'a companion in a black hole'])(
    'uses the REST API behind %s, which never gets the token',
    async (how) => {
      const fake = await companion();
      const proxy = open.use(await FaultProxy.start(`http://127.0.0.1:${fake.port}`));
      const made = scene({ endpoints: [controlPlane.httpUrl, fake.urlAt(proxy.port)] });
      const agent = await start(made);
      await agent.waitForEvent('dataplane.ready');
      await agent.waitForEvent('endpoint.reached', { count: 2 });
      expect(made.isThere).toBe(true);
      if (how.endsWith('hangs')) fake.replies.deregister = silent;
      else if (how.endsWith('away')) await proxy.become({ kind: 'refuse' });
      else await proxy.become({ kind: 'silence' });
      await stop(agent);
      expect(deregistration(agent)).toMatchObject({ outcome: 'gone', endpoint: controlPlane.httpUrl });
      expect(agent.report.totalMs).toBeLessThan(5_000);
      expect(made.isThere).toBe(false);
      expect(controlPlane.journal.sawInRest(TOKEN)).toBe(false);
      expect(agent.stderr).not.toContain(TOKEN);
    },
  );

  test('is not delayed by a companion that does not take the stop report', async () => {
    const fake = await companion();
    const proxy = open.use(await FaultProxy.start(`http://127.0.0.1:${fake.port}`));
    const made = scene({
      endpoints: [fake.urlAt(proxy.port)],
      child: { contract: 'kuma', envoy: 'hidden', drainMs: 1_000, exit: { code: 0 } },
    });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    agent.signal('SIGTERM');
    await agent.waitForEvent('dataplane.deregistered');
    await proxy.become({ kind: 'silence' });
    await agent.waitForEvent('stop.reported');
    const reportedAt = Date.now();
    expect(await agent.exited).toEqual(OK);
    expect(Date.now() - reportedAt).toBeLessThan(800);
  });
});

/** A build of the agent of its own, from which something may be missing. */
function build(dir: TemporaryDir): { readonly prefix: readonly string[]; readonly bin: string } {
  cpSync(join(AGENT, '..', '..', 'kuma-dp-agent'), dir.join('agent'), { recursive: true });
  writeFileSync(dir.join('agent', 'package.json'), '{"type":"commonjs"}');
  return { prefix: [process.execPath], bin: dir.join('agent', 'main.js') };
}

describe('what the agent loads', () => {
  test('contains gRPC only if an endpoint is a companion', async () => {
    using dir = new TemporaryDir();
    const bare = build(dir);
    rmSync(dir.join('agent', 'companion-endpoint.js'));
    const made = scene({ endpoints: [controlPlane.httpUrl], put: true });
    const agent = await made.start(bare);
    await made.untilRunning(agent);
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({ outcome: 'gone' });
  });

  test('is complete before a stop, which loads nothing', async () => {
    using dir = new TemporaryDir();
    const fake = await companion();
    const made = scene({ endpoints: [fake.url] });
    const agent = await made.start(build(dir));
    await agent.waitForEvent('dataplane.ready');
    await agent.waitForEvent('endpoint.reached');
    rmSync(dir.join('agent'), { recursive: true });
    await stop(agent);
    expect(deregistration(agent)).toMatchObject({ outcome: 'gone' });
  });
});

describe('the other commands', () => {
  test('deregister --state finishes through the companion what a killed agent left', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url] });
    const agent = await start(made);
    await agent.waitForEvent('dataplane.ready');
    const state = await waitUntil(
      () => {
        const read = JSON.parse(readFileSync(made.stateFile, 'utf8')) as HostState;
        return read.kumaDp === undefined ? undefined : read;
      },
      { what: 'a state file that names kuma-dp' },
    );
    expect(state.dataplaneTokenFile).toBe(made.dir.join('token'));
    expect(JSON.stringify(state)).not.toContain(TOKEN);
    agent.signal('SIGKILL');
    await agent.exited;
    sendSignal(state.kumaDp?.pid ?? 0, 'SIGKILL');
    await agent.waitUntilNobodyLives(10_000);

    const asked = await made.agent(['deregister', '--state', made.stateFile]);
    expect(await asked.exited, asked.stderr).toEqual(OK);
    expect(made.isThere).toBe(false);
    expect(fake.seen('deregister')).toMatchObject([
      { token: TOKEN, request: { incarnation: { id: state.incarnation } } },
    ]);
  });

  test('deregister by name names the token that it uses', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url], put: true });
    const asked = await made.agent([
      'deregister',
      `--endpoint=${fake.url}`,
      '--mesh=default',
      `--name=${made.name}`,
      `--dataplane-token-file=${made.dir.join('token')}`,
    ]);
    expect(await asked.exited, asked.stderr).toEqual(OK);
    expect(fake.seen('deregister')).toMatchObject([{ token: TOKEN }]);
    expect(made.isThere).toBe(false);
  });

  test('plan shows the endpoint, and that the agent would own the object', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [controlPlane.httpUrl, fake.url] });
    const asked = await made.agent(['plan', ...made.runArgv.slice(1)]);
    expect(await asked.exited, asked.stderr).toEqual(OK);
    const text = asked.stdout.toString();
    expect(text).toMatch(/lifecycle +agent/);
    expect(text.indexOf(fake.url)).toBeLessThan(text.indexOf(controlPlane.httpUrl));
    expect(text).toContain(`${fake.url}: Kuma 2.14.3, mode zone`);
    expect(fake.streams).toEqual([]);
  });

  test('the agent refuses an endpoint that would get the token in clear', async () => {
    const made = scene({ endpoints: ['grpc://companion.example:5690'] });
    const asked = await made.agent(made.runArgv);
    expect(await asked.exited).toEqual({ code: 78, signal: null });
    expect(asked.stderr).toContain('would send the dataplane token in clear');
  });

  test('the agent writes no inline token to a file', async () => {
    const fake = await companion();
    const made = scene({ endpoints: [fake.url], kumaDpOptions: [`--dataplane-token=${TOKEN}`] });
    const agent = await made.start();
    await made.child.waitFor('ready');
    await waitUntil(() => readFileSync(made.stateFile, 'utf8').includes('kumaDp'), { what: 'a state file' });
    expect(fake.streams[0]?.token).toBe(TOKEN);
    expect(readFileSync(made.stateFile, 'utf8')).not.toContain(TOKEN);
    await stop(agent);
  });
});
