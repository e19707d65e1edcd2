import { spawnSync } from 'node:child_process';

import { expect, test } from 'vitest';

import { IN_PID_NAMESPACE, needPidNamespace } from '../../support/need.ts';

/** A kuma-dp of another user behind a program that replaces itself by it, or that stays and is the agent's own. */
const SCRIPT = `
  const { spawn } = await import('node:child_process');
  const { once } = await import('node:events');
  const { WrappedChild } = await import('./agent/child/wrapped-child.io.ts');
  const other = 'setpriv --reuid=65534 bash -c "echo; exec -a kuma-dp sleep 30"';
  for (const command of ['exec ' + other, other + '; :']) {
    const child = spawn('bash', ['-c', command], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, 100));
    const wrapped = new WrappedChild(child.pid);
    wrapped.checkReach();
    console.log(await Promise.race([wrapped.denied.then(() => 'denied'), new Promise((resolve) => setTimeout(resolve, 100, 'reached'))]));
  }
  process.exit();
`;

test.for([
  ['with root’s capabilities', '', ['reached', 'reached']] as const,
  ['without CAP_KILL', '-kill', ['denied', 'reached']] as const,
])('an agent %s knows before a stop whether its signals reach anything', ([, bounds, expected], context) => {
  needPidNamespace(context);
  const argv = [process.execPath, '--input-type=module', '--eval', SCRIPT];
  const [unshare, ...prefix] = IN_PID_NAMESPACE;
  const { status, stdout } = spawnSync(
    unshare,
    [...prefix, 'setpriv', ...(bounds === '' ? ['--nnp'] : [`--bounding-set=${bounds}`]), ...argv],
    { encoding: 'utf8', timeout: 20_000 },
  );
  expect(status).toBe(0);
  expect(stdout.trim().split('\n')).toEqual(expected);
});
