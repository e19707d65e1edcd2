import { execFileSync } from 'node:child_process';
import {
  constants,
  chmodSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  closeSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { AGENT_BIN as agentBin, type AgentProcess, CHILD } from '../../support/agent-process.ts';
import { lives, sendSignal, processState } from '../../support/world/processes.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { IN_PID_NAMESPACE, needPidNamespace } from '../../support/need.ts';
import { SignalScene, type SceneOptions } from '../../support/signal-scene.ts';
import { type TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
});

/** A scene whose control plane plays no part. */
function aside(options: Omit<SceneOptions, 'controlPlane'>): SignalScene {
  return new SignalScene({ controlPlane, ...options });
}

const FATAL_SIGNALS = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGUSR2',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGPWR',
  'SIGSYS',
] as const satisfies readonly NodeJS.Signals[];

describe.concurrent('the agent exits as its child', () => {
  test.for([0, 1, 7, 126, 127, 255])('with exit code %i', async (code) => {
    await using scene = aside({ mode: `exit-${code}` });
    const agent = await scene.start();
    expect(await agent.exited).toEqual({ code, signal: null });
    expect(agent.report.exit).toEqual({ code, signal: null });
  });

  test.for(FATAL_SIGNALS)('%s', async (signal) => {
    await using scene = aside({ mode: `die-${signal.slice('SIG'.length)}` });
    // Where a core file may be written, it goes with the folder.
    const agent = await scene.start({ cwd: scene.dir.path });
    expect(await agent.exited).toEqual({ code: null, signal });
  });
});

describe.concurrent('a command that cannot be started', () => {
  test.for([
    { what: 'missing from PATH', command: 'no-such-kuma-dp', code: 127 },
    { what: 'a missing path', command: './no/such/kuma-dp', code: 127 },
    { what: 'a folder', command: '/tmp', code: 126 },
  ])('$what ends with $code and one line', async ({ command, code }) => {
    await using scene = aside({});
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', command, 'run']);
    expect(await agent.exited).toEqual({ code, signal: null });
    expect(agent.spoken).toHaveLength(1);
    expect(agent.spoken[0]).toContain(command);
    expect(agent.stdout).toHaveLength(0);
  });

  test('a file that is not executable ends with 126 and one line', async () => {
    await using scene = aside({});
    const program = scene.dir.join('kuma-dp');
    writeFileSync(program, '#!/bin/sh\nexit 0\n');
    chmodSync(program, 0o644);
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', program, 'run']);
    expect(await agent.exited).toEqual({ code: 126, signal: null });
    expect(agent.spoken).toEqual([expect.stringContaining(program)]);
  });

  test('a command that cannot be started has the same exit code without a reader of standard error', async () => {
    await using scene = aside({});
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', 'no-such-kuma-dp', 'run']);
    agent.closeStderr();
    expect(await agent.exited).toEqual({ code: 127, signal: null });
  });

  test('wrong options end with 78; the agent names every problem by flag and variable, and starts nothing', async () => {
    await using scene = aside({ mode: 'exit-0' });
    const agent = await scene.agent(
      ['run', '--stop-budget=soon', '--lifecycle=mine', '--nonsense', '--', CHILD, 'run'],
      { env: { ...scene.childEnvironment, KUMA_DP_AGENT_SETTLE: 'later' } },
    );
    expect(await agent.exited).toEqual({ code: 78, signal: null });
    const said = agent.stderr;
    for (const named of [
      '--stop-budget',
      'KUMA_DP_AGENT_STOP_BUDGET',
      '--lifecycle',
      'KUMA_DP_AGENT_LIFECYCLE',
    ]) {
      expect(said).toContain(named);
    }
    for (const named of ['--nonsense', '--settle', 'KUMA_DP_AGENT_SETTLE']) expect(said).toContain(named);
    expect(agent.spoken).toHaveLength(4);
    expect(scene.child.events).toEqual([]);
  });

  test.for([
    { what: 'no "--"', argv: ['run'] },
    { what: 'nothing after "--"', argv: ['run', '--'] },
    { what: 'no command', argv: [] },
    { what: 'an unknown command', argv: ['walk'] },
    { what: 'an argument in front of "--"', argv: ['run', 'kuma-dp', '--', 'true', 'run'] },
    { what: 'a certificate without its key', argv: ['run', '--client-cert-file=/x', '--', 'true', 'run'] },
    { what: 'an endpoint that is no URL', argv: ['run', '--endpoint=cp', '--', 'true', 'run'] },
    { what: 'deregister without a name', argv: ['deregister', '--endpoint=http://127.0.0.1:1'] },
  ])('$what ends with 78 and says so', async ({ argv }) => {
    await using scene = aside({});
    const agent = await scene.agent(argv);
    expect(await agent.exited).toEqual({ code: 78, signal: null });
    expect(agent.spoken[0]).toMatch(/^kuma-dp-agent: /);
    expect(agent.stdout).toHaveLength(0);
  });
});

const BINARY = Buffer.from(Array.from({ length: 1_024 }, (_, at) => (at * 7) % 256));

describe.concurrent('standard input', () => {
  test.for([
    { what: 'binary', bytes: BINARY },
    { what: 'nothing', bytes: Buffer.alloc(0) },
    { what: '300 KB', bytes: Buffer.alloc(300_000, BINARY) },
  ])('-d - passes on the same bytes: $what', async ({ bytes }) => {
    await using scene = aside({ mode: 'echo-stdin', kumaDpOptions: ['-d', '-'] });
    const agent = await scene.start({ stdin: bytes });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.equals(bytes)).toBe(true);
  });

  test('a child may leave the input of -d - unread', async () => {
    await using scene = aside({ mode: 'ignore-stdin', kumaDpOptions: ['-d', '-'] });
    const agent = await scene.start({ stdin: Buffer.alloc(300_000, BINARY) });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.seen('agent.failed')).toEqual([]);
  });

  test('without -d - standard input belongs to kuma-dp alone', async () => {
    await using scene = aside({ mode: 'echo-stdin' });
    const agent = await scene.start({ stdin: BINARY });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.equals(BINARY)).toBe(true);
  });

  test('the agent reads a resource on standard input and passes it on', async () => {
    await using scene = aside({ mode: 'echo-stdin', kumaDpOptions: ['-d', '-'] });
    const text = Buffer.from(JSON.stringify(scene.resource));
    const agent = await scene.start({ stdin: text });
    await agent.exited;
    expect(agent.stdout.equals(text)).toBe(true);
    expect(agent.seen('dataplane.derived')[0]).toMatchObject({ dataplane: `default/${scene.name}` });
  });

  test.for(['/dev/stdin', '/proc/self/fd/0'])('a resource in %s still reaches kuma-dp', async (path) => {
    await using scene = aside({});
    // A pipe, since a socket cannot be opened by its name; read late, as by a kuma-dp that has much to load.
    const agent = await scene.agent(
      [`--state-dir=${scene.stateDir}`, '--', 'sh', '-c', `sleep 1; cat ${path}`, 'run', '-d', path],
      { prefix: ['sh', '-c', `cat ${scene.resourceFile} | "$0" run "$@"`] },
    );
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.toString()).toBe(JSON.stringify(scene.resource));
  });

  test('a resource in a named pipe still reaches kuma-dp', async () => {
    await using scene = aside({});
    const pipe = scene.dir.join('pipe');
    execFileSync('mkfifo', [pipe]);
    const writer = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    writeSync(writer, `${JSON.stringify(scene.resource)}\n`);
    const agent = await scene.agent([
      'run',
      `--state-dir=${scene.stateDir}`,
      '--',
      'sh',
      '-c',
      `sleep 1; head -n 1 ${pipe}`,
      'run',
      '-d',
      pipe,
    ]);
    await waitUntil(() => agent.stdout.includes('\n'), {
      what: 'the resource at kuma-dp',
      budgetMs: 5_000,
    }).finally(() => {
      closeSync(writer);
      agent.signal('SIGKILL');
    });
    expect(agent.stdout.toString()).toBe(`${JSON.stringify(scene.resource)}\n`);
    await agent.exited;
  });

  test('a stop does not wait for an end of standard input', async () => {
    await using scene = aside({ child: { contract: 'obedient' }, kumaDpOptions: ['-d', '-'] });
    const agent = await scene.start({ stdin: 'open' });
    await scene.child.waitFor('ready');
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.report.totalMs).toBeLessThan(10_000);
  });
});

describe.concurrent('what kuma-dp gets', () => {
  test('environment, working directory and arguments are the same as without the agent', async () => {
    await using scene = aside({ mode: 'describe' });
    const env = {
      ...scene.childEnvironment,
      LISTEN_FDS: '1',
      LISTEN_PID: '4711',
      LISTEN_FDNAMES: 'http',
      NOTIFY_SOCKET: '/run/systemd/notify',
      WATCHDOG_USEC: '30000000',
      KUMA_DP_AGENT_LOG_LEVEL: 'warn',
      EMPTY: '',
      'WITH.DOT': 'a=b\tc',
      UMLAUT: 'Grüße',
    };
    const cwd = scene.dir.join('a folder');
    mkdirSync(cwd);
    const args = ['run', '--name=', '--mesh', 'a b', '--', '*', '', '\u{1F600}'];
    const bare = execFileSync(CHILD, args, { cwd, env: { ...process.env, ...env } }).toString();
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', CHILD, ...args], {
      env,
      cwd,
    });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(comparable(agent.stdout.toString())).toEqual(comparable(bare));
    expect(comparable(bare)).toContain('env NOTIFY_SOCKET=/run/systemd/notify');
  });

  test('argv[0] stays as the operator wrote it', async () => {
    await using scene = aside({});
    const PATH = `${scene.dir.path}:${process.env['PATH'] ?? ''}`;
    symlinkSync('/bin/cat', scene.dir.join('kuma-dp'));
    writeFileSync(scene.dir.join('run'), '');
    const agent = await scene.agent(
      ['run', `--state-dir=${scene.stateDir}`, '--', 'kuma-dp', '/proc/self/cmdline', 'run'],
      { env: { PATH }, cwd: scene.dir.path },
    );
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.toString().split('\0')).toEqual(['kuma-dp', '/proc/self/cmdline', 'run', '']);
  });

  test('the agent does not change its output', async () => {
    await using scene = aside({ mode: 'say' });
    const errors = scene.dir.join('errors');
    const fd = openSync(errors, 'a');
    const agent = await scene.start({ stderrFd: fd, env: { KUMA_DP_AGENT_LOG_LEVEL: 'error' } });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    closeSync(fd);
    expect(agent.stdout.equals(expected('out'))).toBe(true);
    expect(readFileSync(errors).equals(expected('err'))).toBe(true);
  });

  test('no more signals are ignored or blocked than before', async () => {
    await using scene = aside({});
    const dispositions = ['sh', '-c', 'grep -E "^Sig(Blk|Ign)" /proc/self/status', 'run'];
    const bare = execFileSync('sh', dispositions.slice(1)).toString();
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', ...dispositions]);
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    // Node ignores PIPE and XFSZ itself and passes them on as they are by default.
    expect(agent.stdout.toString()).toMatch(/SigBlk:\t0+\nSigIgn:\t0+\n/);
    expect(bare).toContain('SigBlk');
  });

  test('a pipe that blocks when it is full still blocks', async () => {
    await using scene = aside({ mode: 'flags' });
    await using pipe = NamedPipe.open(scene.dir);
    const agent = await scene.start({ stderrFd: pipe.writer });
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    const flags = /^fd2\s+(\d+)$/m.exec(agent.stdout.toString())?.[1];
    // oxlint-disable-next-line no-bitwise -- open(2) flags
    expect(Number.parseInt(flags ?? 'missing', 8) & constants.O_NONBLOCK).toBe(0);
  });

  test('a descriptor beside the standard ones reaches kuma-dp', async () => {
    await using scene = aside({});
    const agent = await scene.agent(
      ['run', `--state-dir=${scene.stateDir}`, '--', 'sh', '-c', 'cat <&7', 'run'],
      { prefix: ['sh', '-c', `exec 7<${scene.resourceFile}; exec "$@"`, 'sh'] },
    );
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.toString()).toBe(JSON.stringify(scene.resource));
  });
});

/** The output of the child in mode `say`. */
function expected(stream: string): Buffer {
  return Buffer.concat([
    Buffer.from(`${stream}\0\u0001`),
    Buffer.of(0xff),
    Buffer.from(' without a newline'),
  ]);
}

/** A shell changes some variables of its own with each start. */
function comparable(described: string): readonly string[] {
  return described
    .split('\n')
    .filter((line) => !/^(fd\d|env (_|PWD|OLDPWD|SHLVL|AGENT_TEST_MARK)=)/.test(line))
    .toSorted((a, b) => (a < b ? -1 : 1));
}

/** A pipe that other processes write to and no process reads. */
class NamedPipe implements AsyncDisposable {
  readonly writer: number;
  readonly #filler: number;

  private constructor(path: string) {
    execFileSync('mkfifo', [path]);
    // Opened for both, so that no reader is needed.
    this.#filler = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    this.writer = openSync(path, constants.O_WRONLY);
  }

  static open(dir: TemporaryDir): NamedPipe {
    return new NamedPipe(dir.join('stderr'));
  }

  fill(): void {
    for (const size of [4_096, 1]) {
      try {
        for (;;) writeSync(this.#filler, Buffer.alloc(size, '.'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.writer);
    closeSync(this.#filler);
  }
}

describe.concurrent('when no process reads standard error', () => {
  const options = ['--stop-budget=5s', '--settle=100ms'];
  const child = { contract: 'kuma', envoy: 'admin', exit: { code: 9 } } as const;

  test('a reader that ends in mid-run does not disturb the stop', async () => {
    await using scene = aside({ child, options });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    agent.closeStderr();
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 9, signal: null });
    expect(scene.isThere).toBe(false);
    expect(scene.child.signals('SIGTERM')).toHaveLength(2);
  });

  test('a reader that has ended at the start does not disturb the stop', async () => {
    await using scene = aside({ child, options });
    const agent = await scene.start({ prefix: ['sh', '-c', 'exec "$@" 2>&-', 'sh'] });
    await scene.untilRunning(agent, 0);
    await waitUntil(() => controlPlane.journal.requests.length > 0, {
      what: 'the agent at the control plane',
    });
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 9, signal: null });
    expect(scene.isThere).toBe(false);
  });

  test('a full pipe does not disturb the stop', async () => {
    await using scene = aside({ child, options: [...options, '--report-file=report.jsonl'] });
    await using pipe = NamedPipe.open(scene.dir);
    const agent = await scene.start({ stderrFd: pipe.writer, cwd: scene.dir.path });
    await scene.untilRunning(agent, 0);
    pipe.fill();
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 9, signal: null });
    expect(scene.isThere).toBe(false);
    const report = JSON.parse(readFileSync(scene.dir.join('report.jsonl'), 'utf8')) as { totalMs: number };
    expect(report.totalMs).toBeLessThanOrEqual(5_250);
  });

  test('a full socket, as of a journal that hangs, does not disturb the stop', async () => {
    await using scene = aside({
      child,
      options: [...options, '--log-level=debug', '--report-file=report.jsonl'],
    });
    const agent = await scene.start({ cwd: scene.dir.path });
    await scene.untilRunning(agent);
    agent.pauseStderr();
    // Each line of the log is some hundred bytes; signals that are passed on write one each.
    for (let round = 0; round < 40; round += 1) {
      agent.signal('SIGWINCH', 50);
      await delay(20);
    }
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 9, signal: null });
    expect(scene.isThere).toBe(false);
  });
});

describe.concurrent('an agent that is killed', () => {
  test('ends kuma-dp too, with a drain', async () => {
    await using scene = aside({ child: { contract: 'kuma', envoy: 'hidden', drainMs: 300 } });
    const agent = await scene.start();
    await scene.untilRunning(agent);
    agent.signal('SIGKILL');
    expect(await agent.exited).toEqual({ code: null, signal: 'SIGKILL' });
    await scene.child.waitForSignal('SIGTERM');
    await agent.waitUntilNobodyLives(10_000);
  });

  test.for(['grandchild', 'daemon'] as const)(
    'does not wait for a %s that outlives kuma-dp',
    async (forks) => {
      await using scene = aside({ child: { contract: 'obedient', forks, grandchildMs: 20_000 } });
      const agent = await scene.start();
      const { pid = 0 } = await scene.child.waitFor('forked');
      agent.signal('SIGTERM');
      expect(await agent.exited).toEqual({ code: 0, signal: null });
      expect(lives(pid)).toBe(true);
      sendSignal(pid, 'SIGKILL');
    },
  );
});

describe.concurrent('signals that are not about stopping', () => {
  test.for(['SIGQUIT', 'SIGUSR1', 'SIGALRM', 'SIGWINCH', 'SIGCONT'] as const)(
    'the agent passes %s on',
    async (signal) => {
      await using scene = aside({ child: { contract: 'ignores' } });
      const script = `trap 'echo got ${signal}' ${signal.slice(3)}; echo ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done`;
      const agent = await scene.agent([
        'run',
        `--state-dir=${scene.stateDir}`,
        '--',
        'sh',
        '-c',
        script,
        'run',
      ]);
      await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
      await agent.waitForEvent('agent.started');
      agent.signal(signal);
      expect(await agent.exited).toEqual({ code: 0, signal: null });
      expect(agent.stdout.toString()).toBe(`ready\ngot ${signal}\n`);
      // systemd sends SIGCONT behind each SIGTERM, which is not worth a line.
      expect(agent.seen('signal.forwarded')).toHaveLength(signal === 'SIGCONT' ? 0 : 1);
    },
  );
});

/** An interactive shell in a terminal of its own, which turns control characters into signals. */
async function shell(scene: SignalScene): Promise<AgentProcess> {
  return scene.agent(['-q', '-f', '-c', 'sh -i', '/dev/null'], {
    bin: '/usr/bin/script',
    stdin: 'open',
    env: { PS1: '', SHELL: '/bin/sh', TERM: 'dumb' },
  });
}

describe.concurrent('a terminal', () => {
  test('Ctrl-C ends the job as it ends kuma-dp, Ctrl-Z and fg stop and continue it', async () => {
    await using scene = aside({ mode: 'pause' });
    const terminal = await shell(scene);
    const says = (text: string, budgetMs?: number): Promise<unknown> =>
      waitUntil(() => terminal.stdout.includes(text), {
        what: `${text} in ${terminal.stdout.toString()}`,
        ...(budgetMs === undefined ? {} : { budgetMs }),
      });
    const command = [agentBin, ...scene.runArgv].map((argument) => `'${argument}'`).join(' ');
    terminal.stdin.write(`CHILD_MODE=pause KUMA_DP_AGENT_LOG_LEVEL=error ${command}\n`);
    await says('ready');
    terminal.stdin.write('\u001a');
    await says('Stopped');
    const job = terminal.living.find(({ command: line }) => line.includes('main.js'));
    expect(processState(job?.pid ?? 0)).toBe('T');
    terminal.stdin.write('fg\n');
    await waitUntil(() => processState(job?.pid ?? 0) !== 'T', { what: 'a job that goes on' });
    terminal.stdin.write('\u0003');
    await waitUntil(() => !lives(job?.pid ?? 0), { what: 'the end of the job' });
    terminal.stdin.write('echo status=$?\n');
    await says('status=130');
    terminal.stdin.write('exit\n');
    await terminal.exited;
  });
});

describe('the agent as the first process of a container', () => {
  beforeEach(needPidNamespace);

  test.for([
    { mode: 'die-SEGV', code: 139 },
    { mode: 'die-KILL', code: 137 },
    { mode: 'exit-7', code: 7 },
  ])('ends with $code when its child $mode', async ({ mode, code }) => {
    await using scene = aside({ mode });
    const agent = await scene.start({ prefix: IN_PID_NAMESPACE, cwd: scene.dir.path });
    expect(await agent.exited).toEqual({ code, signal: null });
  });

  test('stops as elsewhere', async () => {
    await using scene = aside({
      child: { contract: 'kuma', envoy: 'admin', exit: { code: 4 } },
      options: ['--settle=100ms'],
    });
    const agent = await scene.start({ prefix: IN_PID_NAMESPACE });
    await scene.untilRunning(agent);
    const inside = agent.living.find(
      ({ command }) => command.includes('main.js') && !command.startsWith('unshare'),
    );
    sendSignal(inside?.pid ?? 0, 'SIGTERM');
    expect(await agent.exited).toEqual({ code: 4, signal: null });
    expect(scene.isThere).toBe(false);
  });
});
