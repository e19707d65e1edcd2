import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { AGENT_BIN, type AgentProcess, ROOT } from '../../support/agent-process.ts';
import { unavailable } from '../../support/need.ts';
import { ScriptedKumaDp } from '../../support/scripted-kuma-dp.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** Starts no process of its own: the limits of these tests hold for it as well. */
const KUMA_DP = `#!/bin/sh\necho "ready as $$"\nexec sleep 60\n`;

let kumaDp: ScriptedKumaDp;

beforeAll(async () => {
  kumaDp = await ScriptedKumaDp.start(KUMA_DP);
});

afterAll(async () => {
  await kumaDp[Symbol.asyncDispose]();
});

const stopBudget = '5s';

/** A build whose files a test may change: `dist/` in the folder. */
function copyOfBuild(): TemporaryDir {
  const copy = new TemporaryDir();
  cpSync(join(AGENT_BIN, '..', '..'), copy.join('dist'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), copy.join('node_modules'));
  return copy;
}

/** @returns how it ended, and whether kuma-dp ran before */
async function stopOnceItRuns(agent: AgentProcess) {
  await waitUntil(() => agent.stdout.includes('ready') || !agent.running, { what: 'kuma-dp' });
  agent.signal('SIGTERM');
  return { ...(await agent.exited), ran: agent.stdout.includes('ready') };
}

const RAN_AND_ENDED = { code: null, signal: 'SIGTERM', ran: true };

/** The agent needs more open files than Node itself. */
describe.concurrent('where the agent may open too few files', () => {
  test.for(
    [21, 23, 25, 28].flatMap((limit) => (['cp', 'agent'] as const).map((owner) => [limit, owner] as const)),
  )('%i of them: kuma-dp runs, wherever Node does; --lifecycle %s', async ([limit, owner], context) => {
    const prefix = ['prlimit', `--nofile=${limit}`];
    const asked = spawnSync('prlimit', [...prefix.slice(1), AGENT_BIN, '--version']);
    if (asked.status !== 0) unavailable(context, `Node does not start with ${limit} open files`);
    await using scene = kumaDp.scene(owner, { stopBudget });
    const agent = await scene.agent(scene.runArgv, { prefix });
    expect(await stopOnceItRuns(agent), agent.stderr).toEqual(RAN_AND_ENDED);
  });
});

describe('a kuma-dp that cannot be started', () => {
  test.for([
    ['that is missing', '/nowhere/kuma-dp', 127],
    ['that is a folder', '/usr/bin', 126],
  ] as const)('%s leaves no registered object behind', async ([, child, code]) => {
    await using scene = kumaDp.scene('agent', { stopBudget, child });
    const agent = await scene.agent([...scene.runArgv]);
    expect(await agent.exited).toEqual({ code, signal: null });
    expect(agent.seen('dataplane.registered')).toHaveLength(1);
    expect(scene.isThere).toBe(false);
  });
});

describe('an agent whose own files are replaced in place while it runs', () => {
  test('ends as kuma-dp does, and deregisters', async () => {
    using copy = copyOfBuild();
    await using scene = kumaDp.scene('cp', { stopBudget, bin: copy.join('dist', 'bin', 'kuma-dp-agent') });
    const agent = await scene.agent(scene.runArgv);
    await agent.waitForEvent('endpoint.reached');
    // `cp -r dist/` over a running agent, at its worst moment: each file is empty, then new. A running program is busy.
    for (const file of readdirSync(copy.join('dist', 'kuma-dp-agent')).filter(
      (name) => !name.startsWith('exec-'),
    ))
      writeFileSync(copy.join('dist', 'kuma-dp-agent', file), '');
    expect(await stopOnceItRuns(agent), agent.stderr).toEqual(RAN_AND_ENDED);
    expect(scene.isThere).toBe(false);
  });
});

describe('an agent whose own files are missing, as in the middle of an upgrade', () => {
  test.for(['supervise.js', 'agent-log.js'])('without %s: kuma-dp runs', async (file) => {
    using copy = copyOfBuild();
    rmSync(copy.join('dist', 'kuma-dp-agent', file));
    for (const owner of ['cp', 'agent'] as const) {
      await using scene = kumaDp.scene(owner, { stopBudget, bin: copy.join('dist', 'bin', 'kuma-dp-agent') });
      const agent = await scene.agent(scene.runArgv);
      expect(await stopOnceItRuns(agent), agent.stderr).toEqual(RAN_AND_ENDED);
      expect(agent.spoken.join()).toContain('a stop will not deregister it');
    }
  });
});
