import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { VERSION } from '../../../kernel/version.ts';
import { AGENT_BIN, type AgentOptions, type AgentProcess } from '../../support/agent-process.ts';
import { IN_JOURNAL } from '../../support/journal-stream.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { Fleet } from '../../support/world/fleet.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

function open(options: readonly string[] = [], endpoints?: readonly string[]): SignalScene {
  return new SignalScene({
    controlPlane,
    child: { contract: 'kuma', envoy: 'admin' },
    options: ['--settle=100ms', ...options],
    ...(endpoints === undefined ? {} : { endpoints }),
  });
}

/**
 * Starts the agent and stops it once it is ready. @returns its output, without the parts that differ from run to run
 */
async function startAndStop(scene: SignalScene, how: Partial<AgentOptions>): Promise<readonly string[]> {
  const agent = await scene.start(how);
  await scene.child.waitFor('ready');
  const written = (): string => `${agent.stderr}${agent.stdout.toString()}`;
  await waitUntil(() => /\bstop (will|now)\b/i.test(written()), { what: 'a look at the endpoint' });
  await waitUntil(() => seesEnvoy(scene), { what: 'an agent that sees its Envoy' });
  const [pid = agent.pid] = agent.living
    .filter(({ command }) => command.includes('main.js'))
    .map((one) => one.pid);
  process.kill(pid, 'SIGTERM');
  await agent.exited;
  return written()
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => normalised(line, scene));
}

async function seesEnvoy({ stateDir }: SignalScene): Promise<boolean> {
  const argv = ['status', '--json', `--state-dir=${stateDir}`];
  await using status = new ManagedProcess({ command: AGENT_BIN, argv });
  await status.exited;
  return /"envoy": ?true/.test(status.stdout);
}

function normalised(line: string, scene: SignalScene): string {
  return line
    .replaceAll(scene.name, 'NAME')
    .replaceAll(scene.dir.path, 'DIR')
    .replaceAll(scene.controlPlane.httpUrl, 'URL')
    .replaceAll(/(?<![[\d])\b\d+(\.\d+)?(ms|s|m)\b/g, 'N')
    .replaceAll(/\d\d:\d\d:\d\d\.\d\d\d/g, 'TIME')
    .replaceAll(/\d{4}-\d\d-\d\dTTIMEZ/g, 'DATE')
    .replaceAll(/(?<=pid=|incarnation=)[\w-]+/g, 'ID')
    .replaceAll(/(?<=command=)(?:"[^"]*"|\S+)/g, 'COMMAND');
}

const START = [
  'A stop will deregister at URL; peers drop the endpoint within N version=2.14.3 [endpoint.reached]',
  'This is dataplane default/NAME lifecycle=cp incarnation=ID [dataplane.derived]',
  `kuma-dp-agent ${VERSION} wraps kuma-dp, with endpoints=URL/ stateDir=DIR/state settle=N [agent.started]`,
  'Started kuma-dp pid=ID command=COMMAND [child.spawned]',
];
const STOP = [
  'SIGTERM: stopping; deregistering first [stop.requested]',
  'Deregistered: the object is gone (deleted) endpoint=URL attempts=1 [dataplane.deregistered]',
  'kuma-dp exited: exit code 0 [child.exited]',
  'Stopped in N (signal SIGTERM; budget N): deregister N, settle N, drain N, exit N, confirm N [stop.reported]',
];

describe.concurrent('the log for people', () => {
  test('is a few lines with priorities in the journal', async () => {
    await using scene = open();
    const lines = await startAndStop(scene, { prefix: IN_JOURNAL });
    expect(lines.slice(0, START.length).toSorted()).toEqual(START.map((line) => `<6>${line}`).toSorted());
    expect(lines.slice(START.length)).toEqual(STOP.map((line) => `<6>${line}`));
  });

  test.for([
    { name: 'in colour', env: {}, word: '\u001B[36mINFO \u001B[0m' },
    { name: 'without, where NO_COLOR is set', env: { NO_COLOR: '1' }, word: 'INFO ' },
  ])('has the time and a word on a terminal, $name', async ({ env, word }) => {
    await using scene = open();
    const lines = await startAndStop(scene, {
      prefix: ['bash', '-c', 'exec script --quiet --return --command "exec ${*@Q}" /dev/null', 'bash'],
      env: { NO_COLOR: undefined, TERM: 'xterm', ...env },
    });
    expect(lines.slice(START.length)).toEqual(STOP.map((line) => `TIME ${word} ${line}`));
  });

  test('is JSON in a pipe by default, and text with the date on request', async () => {
    await using json = open();
    const objects = await startAndStop(json, { env: { JOURNAL_STREAM: '1:2' } });
    expect(objects.map((line) => (JSON.parse(line) as { readonly program: string }).program)).toEqual(
      [...START, ...STOP].map(() => 'kuma-dp-agent'),
    );
    await using text = open();
    const lines = await startAndStop(text, { env: { KUMA_DP_AGENT_LOG_FORMAT: 'text' } });
    expect(lines.slice(START.length)).toEqual(STOP.map((line) => `DATE INFO  ${line}`));
  });

  test('is JSON in the journal on request, and otherwise has problems by their priority', async () => {
    await using json = open(['--log-format=json']);
    const objects = await startAndStop(json, { prefix: IN_JOURNAL });
    expect(objects.every((line) => line.startsWith('{'))).toBe(true);
    await using down = open(['--stop-budget=2s'], ['http://127.0.0.1:1']);
    const lines = await startAndStop(down, { prefix: IN_JOURNAL });
    expect(lines).toContainEqual(
      '<4>Cannot reach http://127.0.0.1:1: a stop now could not deregister there: Cannot GET /: connect ECONNREFUSED 127.0.0.1:1 (ENDPOINT_UNREACHABLE: check address and port, firewall and name resolution) [endpoint.lost]',
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^<3>Not deregistered: peers keep sending requests until .* \[deregistration\.failed\]$/,
      ),
    );
  });

  test('has a priority for messages to the caller, too', async () => {
    await using scene = open();
    const said = async (...argv: readonly string[]): Promise<readonly string[]> => {
      const agent: AgentProcess = await scene.agent(argv, { prefix: IN_JOURNAL });
      await agent.exited;
      return agent.spoken;
    };
    expect(await said('run', '--settle=never', '--', 'true')).toEqual([
      expect.stringMatching(/^<3>--settle \(KUMA_DP_AGENT_SETTLE\): expected a duration/),
    ]);
    expect(await said('deregister', `--state=${scene.stateFile}`)).toEqual([
      `<6>nothing to finish: there is no state file "${scene.stateFile}"`,
    ]);
    expect(
      await said(
        'deregister',
        '--mesh=default',
        `--name=${scene.name}`,
        `--endpoint=${controlPlane.httpUrl}`,
      ),
    ).toEqual([
      `<6>Deregistered: the object is gone (deleted) endpoint=${controlPlane.httpUrl} attempts=1 dataplane=default/${scene.name} [dataplane.deregistered]`,
    ]);
  });
});

test('of an idle dataplane’s stop, which takes less than six seconds, has few lines, none of them twice', async () => {
  await using fleet = await Fleet.create({ names: ['web-1'] });
  const instance = fleet.instance('web-1');
  const { command, argv, env } = instance.command;
  const [shell = '', ...before] = IN_JOURNAL;
  const options = [`--endpoint=${fleet.controlPlane.httpUrl}`, `--state-dir=${fleet.stateDir}`];
  await using agent = new ManagedProcess({
    command: shell,
    argv: [...before, AGENT_BIN, 'run', ...options, '--', command, ...argv],
    env,
  });
  await fleet.untilListed();
  await agent.waitForOutput('[endpoint.reached]');
  const start = agent.stderr.length;
  const askedAtMs = performance.now();
  agent.signal('SIGTERM');
  const { code, atMs } = await agent.exited;
  expect(code).toBe(0);
  expect(atMs - askedAtMs).toBeLessThan(6_000);
  const lines = agent.stderr
    .slice(start)
    .split('\n')
    .filter((line) => line !== '');
  const ours = lines.filter((line) => line.startsWith('<'));
  expect(ours).toHaveLength(STOP.length);
  expect(
    lines.filter((line) => !line.startsWith('<') && !line.includes('\tkuma-dp.run\t')),
    'whatever else is there',
  ).toEqual([]);
  expect(new Set(lines).size).toBe(lines.length);
});
