import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { childSpawner } from '../../../agent/child/child-process.io.ts';
import { NO_SIGNALS } from '../../../agent/child/inherited.pure.ts';
import { processRef } from '../../../agent/state/host.io.ts';
import { AgentProcess } from '../../support/agent-process.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const folder = mkdtempSync(join(tmpdir(), 'wrappers-'));
const kumaDp = join(folder, 'kuma-dp');
const unknown = join(folder, 'to-background');

/** They kill their child 2 s after their own SIGTERM. */
const USER_SWITCHES: readonly (readonly [name: string, argv: (line: string) => readonly string[]])[] = [
  ['a PID namespace', (line) => ['unshare', '--pid', '--fork', ...line.split(' ')]],
  ['namespaces', (line) => ['unshare', '--mount', '--ipc', '--uts', ...line.split(' ')]],
  ['runuser', (line) => ['runuser', '-u', 'daemon', '--', ...line.split(' ')]],
  ['runuser with a shell', (line) => ['runuser', 'daemon', '-s', '/bin/sh', '-c', line]],
  ['su', (line) => ['su', '-s', '/bin/sh', 'daemon', '-c', line]],
  ['setpriv', (line) => ['setpriv', '--reuid=65534', '--clear-groups', ...line.split(' ')]],
];

beforeAll(() => {
  chmodSync(folder, 0o777);
  // Prints that it runs, takes its time after a SIGTERM, and prints that it ended normally.
  writeFileSync(
    kumaDp,
    `#!/bin/sh\ntrap 'sleep 2.5; echo drained >>"$LOG"; exit 7' TERM\necho "$$" >"$LOG"\nwhile :; do sleep 0.05; done\n`,
  );
  chmodSync(kumaDp, 0o755);
  copyFileSync(kumaDp, `${kumaDp}-2.14.3`);
  writeFileSync(unknown, '#!/bin/sh\n( setsid "$@" <&- >/dev/null & )\n', { mode: 0o755 });
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('a kuma-dp behind a program that does not pass signals on', () => {
  test.for<readonly [name: string, argv: (line: string) => readonly string[]]>([
    ['nothing', (line) => line.split(' ')],
    ['dash', (line) => ['dash', '-c', `${line}\n`]],
    ['a bash with a redirection', (line) => ['bash', '-c', `${line} >/dev/null; exit $?`]],
    ...(process.getuid?.() === 0 ? USER_SWITCHES : []),
    ['a shell, with its version', (line) => ['dash', '-c', `${line.replace(kumaDp, `${kumaDp}-2.14.3`)}\n`]],
    ['env -S', (line) => ['env', '-S', line]],
    ['timeout', (line) => ['timeout', '1h', ...line.split(' ')]],
    ['timeout in the foreground', (line) => ['timeout', '--foreground', '1h', ...line.split(' ')]],
    ['setsid --wait', (line) => ['setsid', '--wait', ...line.split(' ')]],
    ['stdbuf', (line) => ['stdbuf', '-oL', ...line.split(' ')]],
    ['ionice and taskset', (line) => ['ionice', '-c', '3', 'taskset', '-c', '0', ...line.split(' ')]],
    ['flock', (line) => ['flock', join(folder, 'lock'), ...line.split(' ')]],
    ['flock with a text', (line) => ['flock', join(folder, 'lock'), '-c', line]],
    ['a time of its own', (line) => ['bash', '-c', `time ${line}`]],
    ['a trap', (line) => ['sh', '-c', `trap : TERM; ${line}`]],
    ['a script that waits', (line) => ['sh', '-c', `${line} & wait $!`]],
    ['two shells', (line) => ['sh', '-c', `sh -c '${line}; exit $?'; exit $?`]],
  ])('gets the SIGTERM itself, and is waited for: %s', async ([name, argvOf]) => {
    const log = join(folder, name.replaceAll(' ', '-'));
    const { spawned, pid } = await spawn(argvOf(`${kumaDp} run`), log);
    spawned.child.signal('SIGTERM');
    expect(await spawned.exited).toEqual({ code: 7, signal: null });
    expect(readText(log)).toContain('drained');
    // It calls itself 1 in a PID namespace, whose end is the end of all in it.
    expect(pid === 1 || processRef(pid) === undefined).toBe(true);
  });

  test('keeps the agent waiting although its parent was killed, and gets the next signals', async () => {
    const log = join(folder, 'orphan');
    const { spawned, pid } = await spawn(['dash', '-c', `${kumaDp} run; exit $?`], log);
    spawned.child.signal('SIGCONT');
    process.kill(spawned.child.pid, 'SIGKILL');
    await waitUntil(() => (processRef(spawned.child.pid) === undefined ? true : undefined), {
      what: 'the shell is gone',
      budgetMs: 10_000,
    });
    expect(processRef(pid)).toBeDefined();
    spawned.child.signal('SIGTERM');
    expect(await spawned.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(readText(log)).toContain('drained');
  });
});

describe.concurrent('a kuma-dp that is sent to the background', () => {
  test.for<readonly [name: string, argv: (line: string) => readonly string[]]>([
    ['setsid --fork', (line) => ['setsid', '--fork', ...line.split(' ')]],
    ['a shell that does not wait', (line) => ['sh', '-c', `${line} & exit 0`]],
    [
      'a daemon that forks twice, late',
      (line) => ['sh', '-c', `(sh -c 'sleep 0.3; exec ${line}' &) & exit 0`],
    ],
    ['an unknown program', (line) => [unknown, ...line.split(' ')]],
  ])('is looked after and stopped: %s', async ([name, argvOf]) => {
    const log = join(folder, name.replaceAll(/\W/g, '-'));
    await using agent = await AgentProcess.start({
      argv: ['run', `--state-dir=${log}-state`, '--', ...argvOf(`${kumaDp} run`)],
      env: { LOG: log },
    });
    const { pid } = await agent.waitForEvent('child.detached');
    expect(pid).toBe(Number(readText(log)));
    expect(agent.running).toBe(true);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(readText(log)).toContain('drained');
    expect(processRef(Number(pid))).toBeUndefined();
  });

  test('gets a SIGTERM when its agent is killed', async () => {
    const log = join(folder, 'killed');
    await using agent = await AgentProcess.start({
      argv: ['run', `--state-dir=${log}-state`, '--', 'setsid', '--fork', kumaDp, 'run'],
      env: { LOG: log },
    });
    await agent.waitForEvent('child.detached');
    await waitUntil(() => agent.living.some(({ command }) => command.includes('kuma-dp-agent-watch')), {
      what: 'a watch',
    });
    agent.signal('SIGKILL');
    await agent.exited;
    await agent.waitUntilNobodyLives(10_000);
    expect(readText(log)).toContain('drained');
  });
});

/** @returns once kuma-dp runs, with the pid that it has for itself */
async function spawn(argv: readonly string[], log: string) {
  const spawner = childSpawner(process.env['PATH'] ?? '', {
    env: process.env,
    signals: NO_SIGNALS,
    openFiles: 0n,
    descriptors: undefined,
  });
  const env = { ...process.env, LOG: log };
  const spawned = spawner.spawn({ argv, env, stdin: undefined, descriptors: [] });
  if ('problem' in spawned) throw new Error(spawned.problem);
  const pid = await waitUntil(() => Number(readText(log)) || undefined, {
    what: 'kuma-dp runs',
    budgetMs: 10_000,
  });
  return { spawned, pid };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
