import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { ROOT } from '../support/documents.ts';
import { imageEntrypoint, nomadTask, read } from '../support/examples.ts';
import { need, needPidNamespace } from '../support/need.ts';
import { Container } from '../support/supervisors/container.ts';
import type { DataplaneHost } from '../support/supervisors/dataplane-host.ts';
import { filledIn } from '../support/supervisors/documented.ts';
import { hostsOfThisFile } from '../support/supervisors/hosts.ts';

/** ECS's own limit, and the most that Nomad grants unless its client raises it. */
const LIMIT_MS = 30_000;

const host = hostsOfThisFile();

interface ContainerDefinition {
  readonly name: string;
  readonly command?: readonly string[];
}

interface Services {
  readonly services: Readonly<Record<string, { readonly command?: readonly string[] }>>;
}

function ecsCommand(): readonly string[] {
  const { containerDefinitions } = JSON.parse(read('ecs/task-definition.json')) as {
    readonly containerDefinitions: readonly ContainerDefinition[];
  };
  return containerDefinitions.find(({ name }) => name === 'kuma-dp')?.command ?? [];
}

function composeCommand(): readonly string[] {
  return (parse(read('compose/compose.yaml')) as Services).services['web-dataplane']?.command ?? [];
}

function nomadCommand(): readonly string[] {
  const { args } = nomadTask();
  return ['/usr/bin/kuma-dp-agent', ...args.map((arg) => arg.replace('${NOMAD_ALLOC_DIR}', '/run'))];
}

const EXAMPLES: readonly { readonly name: string; readonly argv: readonly string[] }[] = [
  { name: 'ECS', argv: [...imageEntrypoint(), ...ecsCommand()] },
  { name: 'Compose', argv: [...imageEntrypoint(), ...composeCommand()] },
  { name: 'Nomad', argv: nomadCommand() },
];

/** Words as JSON, so that one that has nothing to fill in stays as it is. */
function onThisHost(argv: readonly string[], { places }: DataplaneHost): readonly string[] {
  return JSON.parse(filledIn(JSON.stringify(argv), places)) as string[];
}

describe.concurrent('the command of an example', () => {
  beforeEach((context) => {
    needPidNamespace(context);
    need(context, 'tini', 'nsenter');
  });

  test.for(EXAMPLES)('$name: serves, and stops in order within 30 s', async ({ argv }) => {
    await using here = await host();
    const container = new Container(here, onThisHost(argv, here));
    await container.start();
    await here.untilServing();

    expect(await container.stop(LIMIT_MS)).toEqual({ code: 0, signal: null });

    expect(here.keptOrder).toBe(true);
    expect(here.reports).toHaveLength(1);
    await here.untilOnly(undefined);
  });

  test.for(EXAMPLES)(
    '$name: with a budget below the limit, a request that never ends does not bring SIGKILL upon it',
    { timeout: 90_000 },
    async ({ argv }) => {
      await using here = await host({ env: { KUMA_DP_AGENT_STOP_BUDGET: '12s' } });
      const container = new Container(here, onThisHost(argv, here));
      await container.start();
      await here.untilServing();
      const held = await here.hold();

      await container.stop(13_000);

      expect(here.keptOrder).toBe(true);
      expect(here.reports).toHaveLength(1);
      expect(await held.status).toBe('cut');
    },
  );
});

test('Ansible: reads the playbook and its role without an error', (context) => {
  need(context, 'ansible-playbook');
  const argv = ['--inventory', 'localhost,', '--syntax-check', join(ROOT, 'examples/ansible/site.yml')];
  const { status, stderr } = spawnSync('ansible-playbook', argv, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
});
