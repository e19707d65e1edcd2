import { expect, test } from 'vitest';

import { COMPANION_BIN } from '../../support/companion-process.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { IN_JOURNAL } from '../../support/journal-stream.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';

test('in the journal the companion writes lines for people, and its refusals have their priority', async () => {
  await using world = await CompanionWorld.create();
  const { argv, address } = world.companion;
  const [shell = '', ...before] = IN_JOURNAL;
  await using companion = new ManagedProcess({ command: shell, argv: [...before, COMPANION_BIN, ...argv] });
  await companion.waitForOutput('[deregistrar.started]');
  companion.signal('SIGTERM');
  expect(await companion.exited, companion.stderr).toMatchObject({ code: 0 });
  const url = world.controlPlane.httpUrl;
  expect(companion.stderr.split('\n')).toEqual([
    expect.stringMatching(
      `^<6>Control plane ${url} answers version=2\\.14\\.3 .*\\[control-plane\\.found\\]$`,
    ),
    expect.stringMatching(`^<6>The companion has started listen=.*${address}.* \\[deregistrar\\.started\\]$`),
    '<6>Shutting down: redirecting 0 agents to other replicas; their dataplanes stay registered attached=0 [deregistrar.stopping]',
    '<6>The companion has stopped [deregistrar.stopped]',
    '',
  ]);

  await using refused = new ManagedProcess({
    command: shell,
    argv: [...before, COMPANION_BIN, 'serve', '--log-format=yaml'],
  });
  expect(await refused.exited).toMatchObject({ code: 78 });
  expect(refused.stderr).toBe(
    '<3>--log-format (KUMA_DEREGISTRAR_LOG_FORMAT): expected auto, text, json: "yaml"\n',
  );
});
