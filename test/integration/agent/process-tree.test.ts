import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { childrenByParent, childrenOf, kumaDpAmong } from '../../../agent/child/process-tree.io.ts';
import { unavailable } from '../../support/need.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

test('the kernel’s list of children equals the list by parent id', async () => {
  const child = spawn('sh', ['-c', 'sleep 30 & sleep 30 & wait']);
  await once(child, 'spawn');
  try {
    const pid = child.pid ?? 0;
    await expect.poll(() => childrenOf(pid).length).toBe(2);
    expect(new Set(childrenByParent(pid))).toEqual(new Set(childrenOf(pid)));
    expect(kumaDpAmong(pid)).toBeUndefined();
    for (const below of childrenOf(pid)) process.kill(below, 'SIGKILL');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  expect(childrenOf(child.pid ?? 0)).toEqual([]);
});

test('the agent finds kuma-dp behind hundreds of other processes', async () => {
  const many = 'i=0; while [ $i -lt 300 ]; do sleep 30 & i=$((i+1)); done';
  const child = spawn('bash', ['-c', `${many}; (exec -a kuma-dp sleep 30) & echo $!; wait`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    await expect.poll(() => kumaDpAmong(child.pid ?? 0)).toBe(Number(line.toString()));
  } finally {
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await once(child, 'exit');
  }
});

test.each([
  ['dataplane', 'run', true],
  ['start.sh', 'run --cp-address=https://cp:5678', true],
  ['other', 'start', false],
])('the agent recognises a kuma-dp of another name by its Envoy: %s %s', async (name, words, isKnown) => {
  using dir = new TemporaryDir();
  const program = (file: string, text: string): void => {
    writeFileSync(dir.join(file), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  };
  program('envoy', 'echo $PPID; read line');
  program(name, `${dir.join('envoy')} --config-path /tmp/bootstrap.yaml; :`);
  const child = spawn('sh', ['-c', `${dir.join(name)} ${words}; :`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const found = kumaDpAmong(child.pid ?? 0);
  child.stdin.end('over\n');
  await once(child, 'exit');
  expect(found).toBe(isKnown ? Number(line.toString()) : undefined);
});

/** Without the group that may see all, and without CAP_SYS_PTRACE, as an agent that is not root. */
const LOOK_AT_ANOTHER_USERS_CHILD = `
  const { spawn } = await import('node:child_process');
  const { once } = await import('node:events');
  const { childrenOf, startedProcesses } = await import('./agent/child/process-tree.io.ts');
  const child = spawn('setpriv', ['--reuid=65534', '--clear-groups', 'sh', '-c', 'echo; exec sleep 30']);
  await once(child.stdout, 'data');
  for (const look of [childrenOf, startedProcesses]) {
    try { console.log('saw', ...look(child.pid)); } catch (error) { console.log(error.message); }
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  console.log('ended', ...childrenOf(child.pid));
`;

test('a process that /proc hides does not count as one without children', (context) => {
  const script =
    'mount -t proc -o hidepid=invisible proc /proc && exec setpriv --regid=65533 --clear-groups --bounding-set=-sys_ptrace "$@"';
  const argv = [process.execPath, '--input-type=module', '--eval', LOOK_AT_ANOTHER_USERS_CHILD];
  const { status, stdout } = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', ...argv], {
    encoding: 'utf8',
  });
  if (status !== 0) unavailable(context, 'no mount namespace can be made here: run as root');
  expect(stdout.trim().split('\n')).toEqual([
    expect.stringMatching(/^\/proc hides process \d+ /),
    expect.stringMatching(/^\/proc hides process \d+ /),
    'ended',
  ]);
});

test('an agent whose kuma-dp has ended does not take itself for the kuma-dp of the remaining Envoy', () => {
  const script = `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    const { kumaDpAmong } = await import('./agent/child/process-tree.io.ts');
    const envoy = spawn('sh', ['-c', 'echo; read line', 'envoy', '--config-path', '/tmp/bootstrap.yaml']);
    await once(envoy.stdout, 'data');
    console.log(kumaDpAmong(process.pid));
    envoy.stdin.end();
  `;
  const argv = ['--input-type=module', '--eval', script, 'run'];
  expect(spawnSync(process.execPath, argv, { encoding: 'utf8' }).stdout).toBe('undefined\n');
});
