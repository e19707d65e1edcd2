import { cpSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { AGENT_BIN, CHILD } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

const OBEDIENT = { contract: 'obedient', exit: { code: 3 } } as const;

interface Doubtful {
  readonly what: string;
  readonly content: string | undefined;
  /** The name that the warning has beside the file. */
  readonly names: string;
}

const DOUBTFUL: readonly Doubtful[] = [
  { what: 'missing', content: undefined, names: 'no such file' },
  { what: 'empty', content: '', names: '' },
  { what: 'not YAML', content: 'type: Dataplane\nname: [unclosed\n', names: 'line' },
  { what: 'a list', content: '- type: Dataplane\n', names: 'the whole' },
  { what: 'of the wrong type', content: 'type: Mesh\nname: web-1\nmesh: default\n', names: 'Mesh' },
  { what: 'without a name', content: 'type: Dataplane\nmesh: default\n', names: 'name' },
  { what: 'with a number for a name', content: 'type: Dataplane\nmesh: default\nname: 8\n', names: 'name' },
  { what: 'an unclosed variable', content: 'type: Dataplane\nname: {{ name\n', names: 'tag' },
  { what: '10 MB', content: `type: Dataplane\n#${'x'.repeat(10_000_000)}\n`, names: 'larger' },
];

describe.concurrent('a Dataplane file that is', () => {
  test.for(DOUBTFUL)('$what: the agent warns, and kuma-dp decides', async ({ content, names }) => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    if (content === undefined) rmSync(scene.resourceFile);
    else writeFileSync(scene.resourceFile, content);
    const agent = await scene.start();
    const warning = await agent.waitForEvent('dataplane.unknown');
    const message = String(warning['msg']);
    // kuma-dp treats an empty file as missing.
    expect(message).toContain(content === '' ? '--name' : scene.resourceFile);
    expect(message).toContain(names);
    await scene.child.waitFor('ready');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 3, signal: null });
    expect(scene.isThere).toBe(true);
    expect(agent.report.steps[0]).toMatchObject({ step: 'deregister', outcome: 'kept' });
  });

  test.for(DOUBTFUL)('$what: with --require-identity the agent starts nothing', async ({ content }) => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT, options: ['--require-identity'] });
    if (content === undefined) rmSync(scene.resourceFile);
    else writeFileSync(scene.resourceFile, content);
    const agent = await scene.start();
    expect(await agent.exited).toEqual({ code: 78, signal: null });
    expect(agent.spoken).toEqual([expect.stringContaining('--require-identity')]);
    expect(agent.seen('child.spawned')).toEqual([]);
    expect(scene.child.events).toEqual([]);
  });

  test('without a variable: the agent warns, and reads the rest', async () => {
    await using scene = new SignalScene({
      controlPlane,
      child: OBEDIENT,
      kumaDpOptions: ['-v', 'name=web-7'],
    });
    writeFileSync(
      scene.resourceFile,
      'type: Dataplane\nmesh: default\nname: "{{ name }}"\nnetworking:\n  address: "{{ address }}"\n',
    );
    const agent = await scene.start();
    const warning = await agent.waitForEvent('template.incomplete');
    expect(String(warning['msg'])).toContain('address');
    expect((await agent.waitForEvent('dataplane.derived'))['dataplane']).toBe('default/web-7');
    await scene.child.waitFor('ready');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 3, signal: null });
  });
});

function plannedSteps(said: string): readonly string[] {
  return said.split('\n').flatMap((line) => /^(\w+) +by /.exec(line)?.[1] ?? []);
}

describe.concurrent('plan', () => {
  test('starts nothing, and prints the facts and the timeline of a stop', async () => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const agent = await scene.agent(['plan', ...scene.runArgv.slice(1)], { env: scene.childEnvironment });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    const said = agent.stdout.toString();
    for (const expected of [`default/${scene.name}`, controlPlane.httpUrl, 'Kuma 2.14.3', '1m', 'confirm']) {
      expect(said).toContain(expected);
    }
    expect(plannedSteps(said)).toEqual(['deregister', 'settle', 'drain', 'exit', 'confirm']);
    expect(scene.child.events).toEqual([]);
    expect(scene.isThere).toBe(true);
    expect(scene.requests('DELETE')).toEqual([]);
    expect(existsSync(scene.stateDir)).toBe(false);
  });

  test('reports a control plane that it cannot reach', async () => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT, endpoints: ['http://127.0.0.1:1'] });
    const agent = await scene.agent(['plan', ...scene.runArgv.slice(1)]);
    expect(await agent.exited).toEqual({ code: 2, signal: null });
    const said = agent.stdout.toString();
    expect(said).toContain('ECONNREFUSED');
    expect(said).toMatch(/^settle +none/m);
    expect(plannedSteps(said)).toEqual(['deregister', 'drain', 'exit', 'confirm']);
  });

  test.for([
    { missing: 'dataplane-file', option: '--dataplane-file=/none/dataplane.yaml' },
    { missing: 'dataplane-token-file', option: '--dataplane-token-file=/none/token' },
    { missing: 'ca-cert-file', option: '--ca-cert-file=/none/ca.crt' },
  ])('reports that kuma-dp does not start without its --$missing', async ({ option }) => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const agent = await scene.agent(['plan', ...scene.runArgv.slice(1), option]);
    expect(await agent.exited).toEqual({ code: 2, signal: null });
    const said = agent.stdout.toString();
    expect(said).toContain(`there is no "${option.split('=')[1]}"`);
    expect(said).toContain('kuma-dp does not start without that file');
    expect(plannedSteps(said)).toEqual([]);
  });

  test.for([
    {
      what: 'a certificate of our own is missing',
      own: ['--ca-file=/none/ca.crt'],
      steps: ['drain', 'exit'],
    },
    { what: 'and --require-identity', own: ['--ca-file=/none/ca.crt', '--require-identity'], steps: [] },
  ])('$what: reports that a stop does not deregister, and what happens instead', async ({ own, steps }) => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const agent = await scene.agent(['plan', ...own, ...scene.runArgv.slice(1)]);
    expect(await agent.exited).toEqual({ code: 2, signal: null });
    const said = agent.stdout.toString();
    expect(said).toContain('/none/ca.crt');
    expect(said).toContain(steps.length === 0 ? 'run does not start kuma-dp' : 'deregisters nothing');
    expect(plannedSteps(said)).toEqual(steps);
  });

  test("of Kong Mesh's IAM role names the companion that refuses it", async () => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const endpoints = ['--endpoint=grpc://127.0.0.1:1', `--endpoint=${controlPlane.httpUrl}`];
    const agent = await scene.agent(['plan', ...endpoints, ...scene.runArgv.slice(1), '--auth-type=aws']);
    expect(await agent.exited).toEqual({ code: 2, signal: null });
    expect(agent.stdout.toString()).toMatch(/^problem .*--auth-type=aws.*companion refuses/m);
  });

  test('reports that it cannot derive the dataplane', async () => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const agent = await scene.agent(['plan', '--', CHILD, 'help']);
    expect(await agent.exited).toEqual({ code: 2, signal: null });
    expect(agent.stdout.toString()).toContain('unknown');
    expect(plannedSteps(agent.stdout.toString())).toEqual(['drain', 'exit']);
  });
});

describe.concurrent('plan of a command with something in front of kuma-dp', () => {
  test.for<readonly [code: number, argv: readonly string[], says: string]>([
    [1, ['runuser', '-u', 'kuma-dp', '--', 'kuma-dp', 'run'], 'runuser'],
    [1, ['sh', '-c', 'kuma-dp run\n'], '"sh"'],
    [2, ['docker', 'run', '-d', 'image', 'kuma-dp', 'run'], 'docker'],
    [2, ['setsid', '--fork', 'kuma-dp', 'run'], 'setsid'],
    [0, ['nice', 'kuma-dp', 'run'], 'a stop'],
  ])('ends with %i: %j', async ([code, argv, says]) => {
    await using scene = new SignalScene({ controlPlane, child: OBEDIENT });
    const agent = await scene.agent(['plan', `--endpoint=${controlPlane.httpUrl}`, '--', ...argv], {
      env: { KUMA_DATAPLANE_NAME: 'web-1', KUMA_DATAPLANE_MESH: 'default' },
    });
    expect(await agent.exited, agent.stderr).toEqual({ code, signal: null });
    expect(agent.stdout.toString().toLowerCase()).toContain(says);
  });
});

describe('an upgrade while the agent runs', () => {
  test.for(['deleted', 'replaced by something else'])(
    'a stop needs none of its files: they are %s',
    async (how) => {
      await using scene = new SignalScene({
        controlPlane,
        child: { contract: 'kuma', envoy: 'admin', busyMs: 500, exit: { code: 6 } },
        options: ['--settle=100ms', '--report-file=report.jsonl'],
      });
      const installed = scene.dir.join('app', 'dist');
      mkdirSync(dirname(installed));
      const built = join(dirname(AGENT_BIN), '..');
      cpSync(built, installed, { recursive: true });
      // The Node that the launcher looks for beside the build.
      symlinkSync(join(built, '..', 'node_modules'), scene.dir.join('app', 'node_modules'));
      const agent = await scene.start({ bin: join(installed, 'bin', 'kuma-dp-agent'), cwd: scene.dir.path });
      await scene.untilRunning(agent);

      if (how === 'deleted') rmSync(installed, { recursive: true });
      else {
        renameSync(installed, `${installed}.old`);
        cpSync(`${installed}.old`, installed, { recursive: true });
        for (const name of ['main', 'supervise', 'registration', 'connection', 'derive']) {
          writeFileSync(
            join(installed, 'kuma-dp-agent', `${name}.js`),
            'throw new Error("of another version")',
          );
        }
        rmSync(`${installed}.old`, { recursive: true });
      }
      agent.signal('SIGTERM');
      expect(await agent.exited).toEqual({ code: 6, signal: null });

      expect(scene.isThere).toBe(false);
      expect(agent.seen('agent.failed')).toEqual([]);
      expect(agent.report.steps.map(({ outcome }) => outcome)).toEqual([
        'gone',
        'time is up',
        'quiet',
        'exit code 6',
        'gone',
      ]);
      await waitUntil(() => existsSync(scene.dir.join('report.jsonl')), {
        what: 'the report',
        budgetMs: 2_000,
      });
    },
  );
});
