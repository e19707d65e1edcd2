import { spawnSync } from 'node:child_process';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { unavailable } from '../../support/need.ts';
import { ScriptedKumaDp } from '../../support/scripted-kuma-dp.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

/** The things that a hardened unit, a container or a bare root hides from the agent. */
const HIDDEN: readonly (readonly [what: string, how: string])[] = [
  ['nothing', ':'],
  ['everything of /proc but processes', 'mount -t proc -o subset=pid proc /proc'],
  ['the processes of others', 'mount -t proc -o hidepid=invisible proc /proc'],
  ['the identity of this boot', 'mount --bind /dev/null /proc/sys/kernel/random/boot_id'],
  ['/proc/sys', 'mount -t tmpfs none /proc/sys'],
  ['/proc/net', 'mount -t tmpfs none /proc/self/net'],
  ['what uptime and stat say', 'for f in uptime stat meminfo; do mount --bind /dev/null /proc/$f; done'],
  ['/sys', 'mount -t tmpfs none /sys'],
  ['/dev', 'mount -t tmpfs none /dev'],
  ['/run', 'mount -t tmpfs -o ro none /run'],
  [
    'users and name services',
    'for f in passwd group hosts resolv.conf nsswitch.conf; do mount --bind /dev/null /etc/$f; done',
  ],
  ['certificates and time zones', 'for f in ssl; do mount -t tmpfs none /etc/$f; done; export TZ=None/Where'],
];

const KUMA_DP = `#!/bin/sh\ntrap 'exit 7' TERM\necho ready\nwhile :; do sleep 0.05; done\n`;

let kumaDp: ScriptedKumaDp;

beforeAll(async () => {
  kumaDp = await ScriptedKumaDp.start(KUMA_DP);
});

afterAll(async () => {
  await kumaDp[Symbol.asyncDispose]();
});

describe.concurrent('on a host that hides', () => {
  beforeEach((context) => {
    if (spawnSync('unshare', ['--mount', 'true']).status !== 0)
      unavailable(context, 'no mount namespace can be made here: run as root');
  });

  test.for(
    HIDDEN.flatMap(([what, how]) => (['cp', 'agent'] as const).map((owner) => [what, owner, how] as const)),
  )('%s, kuma-dp runs, ends as ever, and is deregistered: --lifecycle %s', async ([, owner, how]) => {
    await using scene = kumaDp.scene(owner, { stopBudget: '10s' });
    const agent = await scene.agent(scene.runArgv, {
      prefix: ['unshare', '--mount', '--propagation=private', 'sh', '-c', `${how}; exec "$@"`, 'sh'],
    });
    await waitUntil(() => agent.stdout.includes('ready'), { what: 'kuma-dp' });
    await agent.waitForEvent('endpoint.reached');
    await waitUntil(() => scene.isThere, { what: 'the object' });
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 7, signal: null });
    expect(scene.isThere).toBe(false);
    expect(agent.seen('agent.failed')).toEqual([]);
  });
});
