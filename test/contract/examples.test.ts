import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod/mini';

import { RUN_OPTIONS } from '../../agent/options.ts';
import { parseDuration } from '../../kernel/duration.ts';
import { VERSION } from '../../kernel/version.ts';
import { KUMA_DP_OPTIONS, nomadTask, read } from '../support/examples.ts';
import { ROOT } from '../support/documents.ts';
import { problemsOfShown } from '../support/shown-commands.ts';

/** Above the default budget and the agent's closing writes. */
const GRANTED_MS = 75_000;

const TaskDefinition = z.strictObject({
  family: z.string(),
  networkMode: z.enum(['awsvpc', 'bridge', 'host', 'none']),
  requiresCompatibilities: z.array(z.enum(['FARGATE', 'EC2', 'EXTERNAL'])),
  cpu: z.string().check(z.regex(/^(256|512|1024|2048|4096)$/)),
  memory: z.string().check(z.regex(/^\d+$/)),
  executionRoleArn: z.string().check(z.regex(/^arn:aws:iam::\d{12}:role\/[\w-]+$/)),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      efsVolumeConfiguration: z.strictObject({ fileSystemId: z.string() }),
    }),
  ),
  containerDefinitions: z.array(
    z.strictObject({
      name: z.string().check(z.regex(/^[\w-]{1,255}$/)),
      image: z.string(),
      essential: z.boolean(),
      command: z.optional(z.array(z.string())),
      mountPoints: z.optional(
        z.array(
          z.strictObject({ sourceVolume: z.string(), containerPath: z.string(), readOnly: z.boolean() }),
        ),
      ),
      dependsOn: z.optional(
        z.array(
          z.strictObject({
            containerName: z.string(),
            condition: z.enum(['START', 'COMPLETE', 'SUCCESS', 'HEALTHY']),
          }),
        ),
      ),
      // Fargate's limit.
      stopTimeout: z.optional(z.int().check(z.gte(2), z.lte(120))),
    }),
  ),
});

const Compose = z.strictObject({
  services: z.record(
    z.string(),
    z.strictObject({
      image: z.string(),
      network_mode: z.optional(z.string().check(z.regex(/^service:[\w-]+$/))),
      depends_on: z.optional(z.array(z.string())),
      command: z.optional(z.array(z.string())),
      volumes: z.optional(z.array(z.string().check(z.regex(/^[^:]+:\/[^:]+:ro$/)))),
      stop_grace_period: z.string().check(z.regex(/^\d+s$/)),
      restart: z.optional(z.enum(['no', 'always', 'on-failure', 'unless-stopped'])),
    }),
  ),
});

describe('ECS', () => {
  const { containerDefinitions, volumes } = TaskDefinition.parse(
    JSON.parse(read('ecs/task-definition.json')),
  );
  const [application, dataplane] = containerDefinitions;

  test('runs the image of docker/Dockerfile with options for kuma-dp, and mounts its files', () => {
    expect(dataplane?.image).toMatch(/\/kuma-dp-with-agent:/);
    expect(dataplane?.command).toEqual(['run', ...KUMA_DP_OPTIONS]);
    expect(dataplane?.mountPoints?.map(({ sourceVolume }) => sourceVolume)).toEqual(
      volumes.map(({ name }) => name),
    );
  });

  test('stops the dataplane before the application, with the time that it needs', () => {
    expect(dataplane?.dependsOn).toEqual([{ containerName: application?.name, condition: 'START' }]);
    expect(dataplane?.stopTimeout).toBe(GRANTED_MS / 1_000);
  });
});

describe('Compose', () => {
  const { services } = Compose.parse(yamlOf('compose/compose.yaml'));
  const dataplane = services['web-dataplane'];

  test('runs the image of docker/Dockerfile with options for kuma-dp', () => {
    expect(dataplane?.image).toMatch(/^kuma-dp-with-agent:/);
    expect(dataplane?.command).toEqual(['run', ...KUMA_DP_OPTIONS]);
  });

  test('stops the dataplane before the application, with the time that it needs', () => {
    expect(dataplane?.network_mode).toBe('service:web');
    expect(dataplane?.depends_on).toEqual(['web']);
    expect(parseDuration(dataplane?.stop_grace_period ?? '')).toBe(GRANTED_MS);
  });
});

describe('Nomad', () => {
  test.for(['nomad/web.nomad.hcl', 'nomad/client.hcl'])(
    '%s: every line is a block, its end or a setting',
    (file) => {
      const stray = read(file)
        .split('\n')
        .filter(
          (line) => !/^\s*(#.*|\w+( "[\w-]+")? \{|\}|\w+\s+= (".*"|true|\[)|".*",( ".*",)*|\])?$/.test(line),
        );
      expect(stray).toEqual([]);
      expect(read(file).match(/\{$/gm)?.length).toBe(read(file).match(/^\s*\}$/gm)?.length);
    },
  );

  test('runs the program of the tarball that it fetches, as the leader, with the time that it needs on both sides', () => {
    const { text, source, command, args } = nomadTask();
    const folder = `kuma-dp-agent-${VERSION}-linux-x64`;
    expect(source).toMatch(new RegExp(`/${RegExp.escape(folder)}\\.tar\\.gz$`));
    expect(command).toBe(`local/${folder}/bin/kuma-dp-agent`);
    expect(args).toEqual([
      'run',
      '--state-dir=${NOMAD_ALLOC_DIR}/kuma-dp-agent',
      '--',
      '/usr/bin/kuma-dp',
      'run',
      ...KUMA_DP_OPTIONS,
    ]);
    expect(text).toMatch(/^ +leader +?= true$/m);
    expect(text).toMatch(/^ +kill_signal +?= "SIGTERM"$/m);
    expect(text).toContain(`kill_timeout = "${GRANTED_MS / 1_000}s"`);
    expect(read('nomad/client.hcl')).toContain(`max_kill_timeout = "${GRANTED_MS / 1_000}s"`);
  });
});

describe('Ansible', () => {
  const role = 'ansible/roles/kuma_dp_agent';
  const Tasks = z.array(z.looseObject({ name: z.string().check(z.regex(/^[A-Z]/)) }));
  const Vars = z.record(z.string(), z.unknown());
  const tasks = Tasks.parse(yamlOf(`${role}/tasks/main.yml`));
  const handlers = Tasks.parse(yamlOf(`${role}/handlers/main.yml`));
  const defaults = Vars.parse(yamlOf(`${role}/defaults/main.yml`));

  test('every variable that it uses has a default, and every default is used', () => {
    const files = readdirSync(join(ROOT, 'examples/ansible'), { recursive: true, encoding: 'utf8' })
      .filter((file) => statSync(join(ROOT, 'examples/ansible', file)).isFile() && !file.includes('defaults'))
      .map((file) => read(`ansible/${file}`));
    const used = new Set(files.flatMap((text) => text.match(/\bkuma_dp_agent_\w+/g) ?? []));
    // Facts of the role itself.
    for (const own of ['kuma_dp_agent_package', 'kuma_dp_agent_doctor']) used.delete(own);
    expect([...used].toSorted()).toEqual(Object.keys(defaults).toSorted());
  });

  test('tasks use full module names and notify handlers that exist; templates are there', () => {
    const modules = [...tasks, ...handlers].map((task) =>
      Object.keys(task).find((key) => key.startsWith('ansible.builtin.')),
    );
    expect(modules).not.toContain(undefined);
    const notified = tasks.flatMap((task) => (task['notify'] ?? []) as readonly string[]);
    expect(handlers.map(({ name }) => name)).toEqual(notified);
    const Template = z.looseObject({ 'ansible.builtin.template': z.object({ src: z.string() }) });
    const templates = tasks.flatMap((task) => {
      const { data } = z.safeParse(Template, task);
      return data === undefined ? [] : [data['ansible.builtin.template'].src];
    });
    expect(templates).toEqual(readdirSync(join(ROOT, 'examples', role, 'templates')));
  });

  test('installs what "npm run package" builds, and restarts nothing unless told', () => {
    const text = read(`${role}/tasks/main.yml`);
    expect(text).toContain("'kuma-dp-agent_' ~ kuma_dp_agent_version ~ '-1_'");
    expect(text).toContain("'kuma-dp-agent-' ~ kuma_dp_agent_version ~ '-1.'");
    expect(defaults).toMatchObject({ kuma_dp_agent_version: VERSION, kuma_dp_agent_restart: false });
    const [restart] = handlers.filter(({ name }) => name.startsWith('Restart'));
    expect(restart?.['when']).toBe('kuma_dp_agent_restart | bool');
  });

  test('the drop-in puts the agent in front of the command, one host at a time', () => {
    expect(defaults['kuma_dp_agent_command']).toBe(['/usr/bin/kuma-dp run', ...KUMA_DP_OPTIONS].join(' '));
    const dropIn = read(`${role}/templates/agent.conf.j2`);
    expect(dropIn).toMatch(
      /^ExecStart=\nExecStart=\/usr\/bin\/kuma-dp-agent run -- \{\{ kuma_dp_agent_command \}\}$/m,
    );
    const plays = z.array(z.looseObject({ serial: z.number() })).parse(yamlOf('ansible/site.yml'));
    expect(plays.map(({ serial }) => serial)).toEqual([1]);
    const Command = z.looseObject({ 'ansible.builtin.command': z.object({ argv: z.array(z.string()) }) });
    const { argv } = Command.parse(tasks.find((task) => 'ansible.builtin.command' in task))[
      'ansible.builtin.command'
    ];
    expect(problemsOfShown(argv.join(' '))).toEqual([]);
  });
});

test('the time that each example grants is above the stop budget', () => {
  expect(GRANTED_MS).toBeGreaterThanOrEqual(RUN_OPTIONS.stopBudgetMs.fallback + 10_000);
});

function yamlOf(path: string): unknown {
  const [document, ...more] = parseAllDocuments(read(path), { strict: true });
  if (document === undefined || more.length > 0 || document.errors.length > 0)
    throw new Error(`examples/${path}: ${String(document?.errors[0])}`);
  return document.toJS() as unknown;
}
