import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { StopReport } from '../../../agent/stop/stop-report.pure.ts';
import { type AgentProcess } from '../../support/agent-process.ts';
import { lives, sendSignal } from '../../support/world/processes.ts';
import { AS_ANOTHER, CopyForOthers } from '../../support/copy-for-others.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { IN_PID_NAMESPACE, needPidNamespace, unavailable } from '../../support/need.ts';
import { SignalScene, type SceneOptions } from '../../support/signal-scene.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/*
 * The requirements that test suites of process wrappers (dumb-init, tini, execa, foreground-child, Supervisor,
 * CPython's subprocess, coreutils) have for a program in front of another one.
 */

let controlPlane: ControlPlane;
/** A copy for the agents that are not root. */
let programs: CopyForOthers;

beforeAll(async () => {
  programs = new CopyForOthers();
  controlPlane = await ControlPlane.start();
});

afterAll(async () => {
  await controlPlane[Symbol.asyncDispose]();
  programs[Symbol.dispose]();
});

function aside(options: Omit<SceneOptions, 'controlPlane'> = {}): SignalScene {
  return new SignalScene({ controlPlane, ...options });
}

/** The agent in front of a shell's script. */
function running(scene: SignalScene, script: string, prefix: readonly string[] = []): Promise<AgentProcess> {
  const argv = ['run', `--state-dir=${scene.stateDir}`, '--', 'sh', '-c', script, 'run'];
  return scene.agent(argv, { prefix, cwd: scene.dir.path });
}

const needRoot = (): boolean => process.getuid?.() === 0;

/** The agent itself, where something stands in front of it. */
async function agentBehind(process: AgentProcess): Promise<number> {
  return waitUntil(() => process.living.find(({ command }) => /^\S*kuma-dp-agent /.test(command))?.pid, {
    what: 'the agent',
    budgetMs: 20_000,
  });
}

function stalledScene(): SignalScene {
  const made = aside({
    programs,
    child: { contract: 'kuma', exit: { code: 9 } },
    options: ['--stop-budget=5s', '--settle=100ms', '--log-level=debug', '--report-file=report.jsonl'],
  });
  chmodSync(made.dir.path, 0o777);
  return made;
}

describe.runIf(needRoot())('a standard error without a reader, of an agent that is not root', () => {
  test.for([
    { what: 'a pipe', script: '{ head -c 65536 /dev/zero >&2; exec "$@"; } 2>&1 >/dev/null | exec sleep 60' },
    {
      what: 'a pipe with a name',
      script: 'mkfifo -m 600 fifo; exec 8<>fifo; { head -c 65536 /dev/zero >&8; exec "$@"; } 2>&8',
    },
    {
      what: 'a terminal',
      script: 'exec script -q -f -c "${*@Q} & sleep 60" /dev/null | exec sleep 60',
    },
  ])('$what of another user, full before the first line, does not disturb the stop', async ({ script }) => {
    await using stalled = stalledScene();
    const held = await stalled.start({
      prefix: ['bash', '-c', script, 'bash', ...AS_ANOTHER],
      cwd: stalled.dir.path,
    });
    await stalled.untilRunning(held, 0);
    const pid = await agentBehind(held);
    // Lines of the log, far more than a terminal takes.
    for (let round = 0; round < 300; round += 1) sendSignal(pid, 'SIGWINCH');
    sendSignal(pid, 'SIGTERM');
    await waitUntil(() => !lives(pid), { what: 'the end of the agent', budgetMs: 15_000 });
    expect(stalled.isThere).toBe(false);
    const report = JSON.parse(readFileSync(stalled.dir.join('report.jsonl'), 'utf8')) as StopReport;
    expect(report.totalMs).toBeLessThanOrEqual(5_250);
    for (const left of held.living) sendSignal(left.pid, 'SIGKILL');
  });
});

test('a socket as standard error blocks for kuma-dp as before, although its reader stalled', async () => {
  await using scene = aside();
  const flags = 'sed -n "s/^flags:/flags/p" /proc/self/fdinfo/2';
  const agent = await running(scene, `sleep 0.5; kill -WINCH $PPID; ${flags}`);
  agent.pauseStderr();
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  const found = /^flags\s+(\d+)$/m.exec(agent.stdout.toString())?.[1] ?? 'missing';
  // oxlint-disable-next-line no-bitwise -- open(2) flags, O_NONBLOCK
  expect(Number.parseInt(found, 8) & 0o4000).toBe(0);
});

describe.concurrent('signals', () => {
  test.for(['XCPU', 'VTALRM', 'PROF', '16', '34', '35', '50', '64'])(
    '%s reaches kuma-dp and does not end the agent',
    async (name) => {
      await using scene = aside();
      const script = `trap 'echo got; exit 3' ${name}; echo ready; while :; do sleep 0.05; done`;
      const agent = await running(scene, script);
      await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
      await agent.waitForEvent('agent.started');
      execFileSync('sh', ['-c', `kill -${name} ${agent.pid}`]);
      expect(await agent.exited).toEqual({ code: 3, signal: null });
      expect(agent.stdout.toString()).toBe('ready\ngot\n');
    },
  );

  test.for([34, 36, 63])('the agent dies of real-time signal %i when its child does', async (number) => {
    await using scene = aside();
    const agent = await running(scene, `kill -${number} $$; sleep 5`, [
      'sh',
      '-c',
      '"$@"; echo status $?',
      'sh',
    ]);
    await agent.exited;
    expect(agent.stdout.toString()).toBe(`status ${128 + number}\n`);
    expect(agent.report.exit).toEqual({ code: null, signal: `SIGRTMIN+${number - 34}` });
  });

  test.for(['HUP', 'QUIT', 'XCPU', '40'])('%s stays blocked', async (name) => {
    await using scene = aside();
    const agent = await running(scene, 'echo ready; sleep 1.5', ['env', `--block-signal=${name}`]);
    await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
    await agent.waitForEvent('agent.started');
    execFileSync('sh', ['-c', `kill -${name} ${agent.pid}`]);
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect([...agent.seen('stop.requested'), ...agent.seen('signal.forwarded')]).toEqual([]);
  });
});

const NUMBERS: ReadonlyMap<string, number> = new Map(Object.entries(os.constants.signals));

describe.concurrent('signals that were ignored when the agent started', () => {
  test.for(['HUP', 'QUIT', 'USR1', 'USR2', 'ALRM', 'XCPU', 'SYS', 'TRAP', '40'])(
    '%s does nothing to the agent and nothing to kuma-dp',
    async (name) => {
      await using scene = aside();
      const ask = 'sed -n "s/^SigIgn:/ignored/p" /proc/self/status';
      const agent = await running(scene, `${ask}; echo ready; sleep 1.5; exit 4`, [
        'env',
        `--ignore-signal=${name}`,
      ]);
      await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
      await agent.waitForEvent('agent.started');
      execFileSync('sh', ['-c', `kill -${name} ${agent.pid}`]);
      expect(await agent.exited).toEqual({ code: 4, signal: null });
      expect([...agent.seen('stop.requested'), ...agent.seen('signal.forwarded')]).toEqual([]);
      const number = NUMBERS.get(`SIG${name}`) ?? Number(name);
      const ignored = BigInt(`0x${/ignored\s+([0-9a-f]+)/.exec(agent.stdout.toString())?.[1] ?? '0'}`);
      // oxlint-disable-next-line no-bitwise -- a set of signals
      expect(ignored & (1n << BigInt(number - 1))).not.toBe(0n);
    },
  );

  test('two of them, with a third blocked, stay as they are while others work', async () => {
    await using scene = aside();
    const agent = await running(scene, `trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done`, [
      'env',
      '--ignore-signal=HUP,USR2',
      '--block-signal=QUIT',
    ]);
    await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
    await agent.waitForEvent('agent.started');
    for (const name of ['HUP', 'USR2', 'QUIT', 'USR1'])
      execFileSync('sh', ['-c', `kill -${name} ${agent.pid}`]);
    expect(await agent.exited).toEqual({ code: 6, signal: null });
    expect(agent.seen('stop.requested')).toEqual([]);
  });

  test.for(['TERM', 'INT'])('%s is a stop all the same: kuma-dp handles it even then', async (name) => {
    await using scene = aside();
    const agent = await running(scene, 'echo ready; sleep 1.5; exit 4', ['env', `--ignore-signal=${name}`]);
    await waitUntil(() => agent.stdout.includes('ready'), { what: 'a child that is ready' });
    await agent.waitForEvent('agent.started');
    execFileSync('sh', ['-c', `kill -${name} ${agent.pid}`]);
    await agent.exited;
    expect(agent.seen('stop.requested')).toHaveLength(1);
  });
});

const writesCoreHere = !/^[|/]/.test(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'));

test.runIf(writesCoreHere).for(['SEGV', 'ABRT', 'QUIT'])(
  'a crash by %s leaves kuma-dp’s core and no other',
  async (name) => {
    await using scene = aside();
    const agent = await running(scene, `kill -${name} $$`, [
      'sh',
      '-c',
      'ulimit -c unlimited; exec "$@"',
      'sh',
    ]);
    expect(await agent.exited).toEqual({ code: null, signal: `SIG${name}` });
    const sizes = readdirSync(scene.dir.path)
      .filter((file) => file.startsWith('core'))
      .map((file) => statSync(scene.dir.join(file)).size);
    expect(sizes).toHaveLength(1);
    // A shell's; Node's has hundreds of megabytes.
    expect(sizes[0]).toBeLessThan(20_000_000);
  },
);

describe.concurrent('inherited descriptors', () => {
  const LIST = 'for fd in 3 4 5 9 700; do readlink /proc/$$/fd/$fd; done';

  test('kuma-dp gets two descriptors of one pipe, and one with a high number', async () => {
    await using scene = aside();
    const agent = await running(scene, LIST, [
      'bash',
      '-c',
      'ulimit -Sn 1024; { exec 3>&1 4>&1 700</dev/null; exec "$@"; } | cat',
      'sh',
    ]);
    await agent.exited;
    const [third, fourth, high, ...more] = agent.stdout.toString().trim().split('\n');
    expect(third).toMatch(/^pipe:/);
    expect([fourth, high, ...more]).toEqual([third, '/dev/null']);
  });

  test('kuma-dp gets both ends of one pipe, as of a job server', async () => {
    await using scene = aside();
    const agent = await running(scene, 'echo token >&9; read -r got <&8; echo "$got"', [
      'bash',
      '-c',
      'mkfifo jobs; exec 8<>jobs 9>&8; exec "$@"',
      'sh',
    ]);
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.toString()).toBe('token\n');
  });

  test('kuma-dp gets an eventfd and a pidfd', async (context) => {
    const python = spawnSync('python3', ['-c', 'import os; os.eventfd(0); os.pidfd_open(1)']);
    if (python.status !== 0) unavailable(context, 'no python3 that makes an eventfd');
    await using scene = aside();
    const script = [
      'import os, sys',
      'for fd, made in ((8, os.eventfd(0)), (9, os.pidfd_open(os.getpid()))): os.dup2(made, fd)',
      'os.execvp(sys.argv[1], sys.argv[1:])',
    ].join('\n');
    const agent = await running(scene, 'readlink /proc/$$/fd/8 /proc/$$/fd/9', ['python3', '-c', script]);
    await agent.exited;
    expect(agent.stdout.toString()).toMatch(/^anon_inode:\[eventfd\]\n(anon_inode:\[pidfd\]|pidfd:.*)\n$/);
  });

  test('kuma-dp has no more descriptors than without the agent', async () => {
    await using scene = aside();
    // Without a pipe: the shell would hold its end open for a moment, and not always.
    const list = 'cd /proc/$$/fd && echo *';
    const bare = await scene.agent(['-c', list], { bin: '/bin/sh' });
    await bare.exited;
    const agent = await running(scene, list);
    await agent.exited;
    expect(agent.stdout.toString()).toBe(bare.stdout.toString());
  });
});

describe.concurrent('a program that the kernel refuses', () => {
  test('a program that is being written ends with 126 and one line', async () => {
    await using scene = aside();
    const program = scene.dir.join('kuma-dp');
    copyFileSync('/bin/true', program);
    chmodSync(program, 0o755);
    const writer = openSync(program, 'r+');
    const agent = await scene.agent(['run', `--state-dir=${scene.stateDir}`, '--', program, 'run']);
    expect(await agent.exited).toEqual({ code: 126, signal: null });
    closeSync(writer);
    expect(agent.spoken).toEqual([
      expect.stringMatching(/Cannot start .*\/kuma-dp: text file is busy \(ETXTBSY\)$/),
    ]);
  });

  test.for([
    ['whose interpreter is not there', '#!/no/such/interpreter\n', 127],
    ['that is for another processor', '\x7fELF\x02\x01\x01' + '\0'.repeat(57), 126],
  ] as const)('a program %s ends with one line and a shell’s exit code', async ([, text, code]) => {
    await using scene = aside();
    writeFileSync(scene.dir.join('kuma-dp'), text, { encoding: 'latin1', mode: 0o755 });
    const agent = await scene.agent([
      'run',
      `--state-dir=${scene.stateDir}`,
      '--',
      scene.dir.join('kuma-dp'),
      'run',
    ]);
    expect((await agent.exited).code).toBe(code);
    expect(agent.spoken.length).toBeGreaterThan(0);
  });

  test('a shell runs a program without a first line, as execvp(3) does', async () => {
    await using scene = aside();
    writeFileSync(scene.dir.join('kuma-dp'), 'echo "$0" "$@"\n', { mode: 0o755 });
    const agent = await scene.agent([
      'run',
      `--state-dir=${scene.stateDir}`,
      '--',
      scene.dir.join('kuma-dp'),
      'run',
      'b c',
    ]);
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.stdout.toString()).toBe(`${scene.dir.join('kuma-dp')} run b c\n`);
  });
});

describe('no process is left', () => {
  test('after a kill of the agent in any of its first milliseconds', async () => {
    await using scene = aside();
    for (let round = 0; round < 24; round += 1) {
      const agent = await running(scene, 'exec sleep 60');
      await delay(round * 6);
      agent.signal('SIGKILL');
      await agent.exited;
      await agent.waitUntilNobodyLives(10_000);
      expect(agent.living).toEqual([]);
    }
  });

  describe('in a PID namespace', () => {
    beforeEach(needPidNamespace);

    test('the agent leaves no zombie although the first process waits for none', async () => {
      await using scene = aside();
      const first = await running(scene, 'exec sleep 0.5', [
        ...IN_PID_NAMESPACE,
        'sh',
        '-c',
        '"$@" & exec sleep 60',
        'sh',
      ]);
      const stopped = await first.waitForEvent('stop.reported');
      expect(stopped).toBeDefined();
      const sleeper = await waitUntil(() => first.living.find(({ command }) => command === 'sleep 60')?.pid, {
        what: 'the first process',
      });
      // The agent is the first process's own child, so it stays; nothing of the agent's may.
      await waitUntil(() => statesBelow(sleeper).length === 1 && statesBelow(sleeper)[0] === 'Z', {
        what: () => `one zombie below ${sleeper}: ${statesBelow(sleeper).join(' ')}`,
      });
      sendSignal(sleeper, 'SIGKILL');
      await first.exited;
    });

    test('the agent as the first process reaps orphans', async () => {
      await using scene = aside();
      const script = 'for i in 1 2 3 4 5; do (sh -c "sleep 0.$i" &); done; echo ready; sleep 30';
      const outer = await running(scene, script, [...IN_PID_NAMESPACE]);
      await waitUntil(() => outer.stdout.includes('ready'), { what: 'a child that is ready' });
      const pid = await agentBehind(outer);
      await waitUntil(() => statesBelow(pid).length <= 2, {
        what: 'the children that were left',
        budgetMs: 10_000,
      });
      expect(statesBelow(pid)).not.toContain('Z');
      sendSignal(pid, 'SIGTERM');
      await outer.exited;
    });
  });
});

/** The states of the children of a process: `Z` for a zombie. */
function statesBelow(parent: number): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ');
        return fields[1] === String(parent) ? [fields[0] ?? ''] : [];
      } catch {
        return [];
      }
    });
}

describe.runIf(needRoot())('a child of another user, and an agent that is not root', () => {
  test.for([['SIGTERM'], ['SIGTERM', 'SIGTERM', 'SIGTERM']] as const)(
    '%j: the agent keeps its budget, and logs once why it cannot signal kuma-dp',
    async (signals) => {
      await using scene = aside({ programs });
      chmodSync(scene.dir.path, 0o777);
      // As sudo does it: root really, and not only in effect.
      const toRoot = scene.dir.join('to-root');
      copyFileSync('/usr/bin/setpriv', toRoot);
      chmodSync(toRoot, 0o4755);
      const agent = await scene.agent(
        [
          'run',
          `--state-dir=${scene.stateDir}`,
          '--stop-budget=3s',
          '--',
          toRoot,
          '--reuid=0',
          '--regid=0',
          '--clear-groups',
          'sleep',
          '60',
        ],
        { prefix: AS_ANOTHER },
      );
      const sleeper = await waitUntil(() => agent.living.find(({ command }) => command === 'sleep 60')?.pid, {
        what: 'the child of root',
      });
      await agent.waitForEvent('agent.started');
      for (const signal of signals) {
        agent.signal(signal);
        await delay(20);
      }
      expect(await agent.exited).toEqual({ code: 77, signal: null });
      expect(agent.seen('child.denied')).toMatchObject([{ pid: sleeper, level: 50 }]);
      expect(agent.seen('agent.failed')).toEqual([]);
      expect(agent.report.totalMs).toBeLessThanOrEqual(3_250);
      sendSignal(sleeper, 'SIGKILL');
    },
  );
});

test.runIf(needRoot())('kuma-dp runs without /proc', async () => {
  await using scene = aside();
  const agent = await running(scene, 'echo "$A" é; exit 5', [
    'unshare',
    '--mount',
    'env',
    'A=b c',
    'sh',
    '-c',
    'mount -t tmpfs none /proc; exec "$@"',
    'sh',
  ]);
  expect(await agent.exited).toEqual({ code: 5, signal: null });
  expect(agent.stdout.toString()).toBe('b c é\n');
});
