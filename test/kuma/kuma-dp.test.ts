import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { readDataplaneTemplate } from '../../agent/identity/dataplane-template.io.ts';
import { readKumaDpCommand } from '../../agent/identity/kuma-dp-command.pure.ts';
import { type KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../support/kuma-worlds/object-client.ts';
import { SoloDataplane } from '../support/kuma-worlds/solo-dataplane.ts';
import { lives } from '../support/world/processes.ts';
import { kumasUnderTest } from '../support/kuma-worlds/worlds.ts';
import { type DataplaneCommand } from '../support/world/dataplane-command.ts';
import { ManagedProcess } from '../support/world/managed-process.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const RESOURCE = '@resource';
/** Shorter than a drain, longer than an end. */
const AT_ONCE_MS = 10_000;

describe.concurrent.for(kumasUnderTest)('$label: kuma-dp', ({ create }) => {
  let world: KumaWorld;
  let objects: ObjectClient;
  let unused: DataplaneCommand;
  let names = 0;

  beforeAll(async () => {
    world = await create();
    objects = new ObjectClient(world.restUrl);
    unused = await world.dataplane({ name: 'unused', service: 'unused', servicePort: 1 });
  });

  afterAll(async () => {
    await world[Symbol.asyncDispose]();
  });

  function freshName(): string {
    names += 1;
    return `dp-${names}`;
  }

  function serving(options: { readonly drainTime?: string } = {}): Promise<SoloDataplane> {
    return SoloDataplane.serving(world, { name: freshName(), ...options });
  }

  /** `kuma-dp run` with these arguments only; `RESOURCE` among them stands for a valid one. */
  function run(
    argv: readonly string[],
    options: { readonly env?: Readonly<Record<string, string>>; readonly stdin?: string } = {},
  ): ManagedProcess {
    const { env = {}, stdin = '' } = options;
    const resource = JSON.stringify(unused.resource);
    return new ManagedProcess({
      command: unused.command,
      argv: ['run', ...argv.map((argument) => (argument === RESOURCE ? resource : argument))],
      // Files that a killed kuma-dp leaves are removed with the world.
      env: { ...unused.env, TMPDIR: world.join(), ...env },
      stdin,
    });
  }

  describe('that gets a signal', () => {
    test('is unready at once after the first SIGTERM, serves for the drain time, then exits 0', async () => {
      await using dataplane = await serving({ drainTime: '2s' });
      expect(await dataplane.readiness()).toMatchObject({ status: 200 });
      const toldAtMs = performance.now();
      dataplane.process.signal('SIGTERM');
      await waitUntil(async () => (await dataplane.readiness()).status === 503, { what: 'unreadiness' });
      expect((await dataplane.readiness()).body.trim()).toBe('TERMINATING');
      expect((await dataplane.admin('/ready')).status).toBe(503);
      expect(await dataplane.answers()).toBe(true);
      const exit = await dataplane.process.exited;
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.atMs - toldAtMs).toBeGreaterThan(1_900);
      expect(exit.atMs - toldAtMs).toBeLessThan(2_000 + AT_ONCE_MS);
    });

    test('cuts the drain short at the second, and exits 0', async () => {
      await using dataplane = await serving({ drainTime: '60s' });
      dataplane.process.signal('SIGTERM');
      await waitUntil(async () => (await dataplane.readiness()).status === 503, { what: 'unreadiness' });
      const toldAtMs = performance.now();
      dataplane.process.signal('SIGTERM');
      const exit = await dataplane.process.exited;
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.atMs - toldAtMs).toBeLessThan(AT_ONCE_MS);
    });

    test('does not wait for Envoy at the third, and exits 1', async () => {
      await using dataplane = await serving({ drainTime: '60s' });
      const envoy = dataplane.envoyPid();
      dataplane.process.signal('SIGTERM');
      await waitUntil(async () => (await dataplane.readiness()).status === 503, { what: 'unreadiness' });
      process.kill(envoy, 'SIGSTOP');
      dataplane.process.signal('SIGTERM');
      await dataplane.process.waitForOutput(/stopping all Kuma DP components|received second signal/);
      dataplane.process.signal('SIGTERM');
      expect(await dataplane.process.exited).toMatchObject({ code: 1, signal: null });
      await waitUntil(() => !lives(envoy), { what: 'Envoy to be gone' });
    });

    test('drains at SIGUSR2 and stays ready, then ends at once at a SIGTERM, exit 0', async () => {
      await using dataplane = await serving({ drainTime: '60s' });
      dataplane.process.signal('SIGUSR2');
      await dataplane.process.waitForOutput('draining Envoy connections');
      expect((await dataplane.readiness()).status).toBe(200);
      const toldAtMs = performance.now();
      dataplane.process.signal('SIGTERM');
      const exit = await dataplane.process.exited;
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.atMs - toldAtMs).toBeLessThan(AT_ONCE_MS);
    });

    test.for([
      ['SIGHUP', { code: null, signal: 'SIGHUP' }],
      ['SIGQUIT', { code: 2, signal: null }],
      ['SIGKILL', { code: null, signal: 'SIGKILL' }],
    ] as const)('ends at %s without a drain, and Envoy with it', async ([signal, exit]) => {
      await using dataplane = await serving({ drainTime: '60s' });
      const envoy = dataplane.envoyPid();
      expect(lives(envoy)).toBe(true);
      dataplane.process.signal(signal);
      expect(await dataplane.process.exited).toMatchObject(exit);
      await waitUntil(() => !lives(envoy), { what: 'Envoy to be gone' });
    });

    test('ends at a SIGTERM while it asks for its bootstrap, exit 1', async () => {
      await using dataplane = await SoloDataplane.create(world, {
        name: freshName(),
        lifecycle: 'pre-applied',
      });
      dataplane.start();
      await dataplane.process.waitForOutput('not yet found');
      dataplane.process.signal('SIGTERM');
      expect(await dataplane.process.exited).toMatchObject({ code: 1, signal: null });
    });

    test('ends when Envoy does', async () => {
      await using dataplane = await serving();
      process.kill(dataplane.envoyPid(), 'SIGKILL');
      expect((await dataplane.process.exited).signal).toBeNull();
    });
  });

  describe('that gets arguments', () => {
    test.for<[string, readonly string[], Readonly<Record<string, string>>, string]>([
      ['an unknown flag', ['--nope'], {}, 'unknown flag: --nope'],
      ['a flag without its value', ['--name'], {}, 'flag needs an argument: --name'],
      ['no duration', ['--drain-time', 'soon'], {}, 'invalid argument "soon" for "--drain-time" flag'],
      ['neither name nor resource', [], {}, '.Name must be non-empty'],
      ['no time to drain', ['--name=n', '--mesh=m', '--drain-time=0s'], {}, '.DrainTime must be positive'],
      ['a file that is missing', ['-d', '/nowhere.yaml'], {}, 'open /nowhere.yaml: no such file'],
      [
        'a resource and a name',
        ['--dataplane', RESOURCE, '--name=n'],
        {},
        '--name and --mesh cannot be spec',
      ],
      [
        'a resource, and a name in the environment',
        ['--dataplane', RESOURCE],
        { KUMA_DATAPLANE_NAME: 'n' },
        '--name and --mesh cannot be spec',
      ],
      [
        'a name that the environment overrides with none',
        ['--name=n', '--mesh=m'],
        { KUMA_DATAPLANE_NAME: '' },
        '.Name must be non-empty',
      ],
      ['a CA that is missing', ['--name=n', '--mesh=m', '--ca-cert-file=/nowhere.crt'], {}, '/nowhere.crt'],
    ])('%s: reports it and exits 1', async ([, argv, env, words]) => {
      await using child = run(argv, { env });
      const { code } = await child.exited;
      expect(`${child.stderr}${child.stdout}`).toContain(words);
      expect(code).toBe(1);
    });

    test('zone proxies are a proxy type up to Kuma 2 only', async () => {
      const address = '--cp-address=https://127.0.0.1:1';
      const binary = unused.argv.filter((argument) => argument.startsWith('--binary-path='));
      await using child = run([
        '--proxy-type=ingress',
        '--name=n',
        '--dns-enabled=false',
        address,
        ...binary,
      ]);
      const { zoneProxies } = world.behaviour;
      await child.waitForOutput(
        zoneProxies ? 'trying to fetch bootstrap configuration' : '.ProxyType "ingress" is not supported',
      );
      const ended = zoneProxies ? undefined : (await child.exited).code;
      expect(ended).toBe(zoneProxies ? undefined : 1);
    });

    test('ends with an invalid resource, exit 1', async () => {
      const { networking } = unused.resource as { readonly networking: object };
      const broken = JSON.stringify({ ...unused.resource, networking: { ...networking, address: '' } });
      await using child = run(['--dataplane', broken, ...withoutResource(unused).slice(1)]);
      expect(await child.exited).toMatchObject({ code: 1 });
      expect(child.stderr).toContain('networking.address');
    });
  });

  describe('that gets a template', () => {
    const VARS = {
      name: 'web-1',
      'net.address': '127.0.0.1',
      port: '7001',
      text: `a&b<c>"d"'e'`,
    };

    test.for([
      ['a variable', '{{ name }}', 'web-1'],
      ['a variable without spaces', '{{name}}', 'web-1'],
      ['a variable with dots, which nest', '{{ net.address }}', '127.0.0.1'],
      ['a variable that is not set', 'x{{ nothing }}y', 'xy'],
      ['text, escaped as Go does', '{{ text }}', 'a&amp;b&lt;c&gt;&#34;d&#34;&#39;e&#39;'],
      ['raw text', '{{{text}}}', `a&b<c>"d"'e'`],
      ['raw text with spaces in its tag, which is not set', 'x{{{ text }}}y', 'xy'],
      ['raw text by an ampersand, which is not set', 'x{{& text}}y', 'xy'],
      ['a section that is set', '{{#name}}a {{ name }}{{/name}}', 'a web-1'],
      ['a section that is not', 'a{{#nothing}} b{{/nothing}}', 'a'],
      ['an inverted section', '{{^nothing}}a{{/nothing}}', 'a'],
      ['a comment', 'a{{! not this }}', 'a'],
    ] as const)('%s: kuma-dp renders %s as the agent does', async ([, template, expected]) => {
      const text = `type: Dataplane\nmesh: default\nname: web-1\nlabels:\n  x: |-\n    ${template}\n`;
      const argv = ['-d', '-', ...variables(VARS), '--cp-address=https://127.0.0.1:1'];
      await using child = run(argv, { stdin: text });
      await child.waitForOutput('rendered resource');
      expect(parse(renderedBy(child))).toMatchObject({ labels: { x: expected } });
      const read = readKumaDpCommand([unused.command, 'run', ...argv], {});
      if (read === undefined) throw new Error('The agent does not know the command');
      const derived = await readDataplaneTemplate(read, Promise.resolve(Buffer.from(text)));
      expect(derived.resource?.labels).toEqual({ x: expected });
    });

    test.for(['file', 'standard input', 'inline'] as const)(
      'from %s, kuma-dp registers what the agent derives',
      async (source) => {
        const name = freshName();
        await using dataplane = await SoloDataplane.create(world, { name });
        const { command, resource } = dataplane.command;
        const template = JSON.stringify(resource, undefined, 1)
          .replaceAll(`"${name}"`, '"{{ dp.name }}"')
          .replaceAll('"127.0.0.1"', '"{{ address }}"');
        const file = world.join(`${name}.yaml`);
        writeFileSync(file, template);
        const from = {
          file: ['-d', file],
          'standard input': ['--dataplane-file', '-'],
          inline: ['--dataplane', template],
        };
        const argv = [
          ...withoutResource(dataplane.command),
          ...from[source],
          ...variables({ 'dp.name': name, address: '127.0.0.1' }),
        ];
        const stdin = source === 'standard input' ? template : '';
        await using child = new ManagedProcess({ command, argv, env: dataplane.command.env, stdin });
        await objects.untilThere(name);
        const read = readKumaDpCommand([command, ...argv], {});
        if (read === undefined) throw new Error('The agent does not know the command');
        const derived = await readDataplaneTemplate(read, Promise.resolve(Buffer.from(stdin)));
        expect(derived.resource).toMatchObject({ mesh: 'default', name });
        expect((await objects.get(name)).body).toMatchObject({
          name,
          networking: { address: '127.0.0.1', inbound: [{ port: dataplane.command.inboundPort }] },
        });
        child.signal('SIGKILL');
      },
    );
  });

  describe('that runs Envoy', () => {
    test('has it in a process group of its own, with its bootstrap in the work directory', async () => {
      await using dataplane = await serving({ drainTime: '7s' });
      const envoy = dataplane.envoyPid();
      expect(Number(readFileSync(`/proc/${envoy}/stat`, 'utf8').split(' ')[4])).toBe(envoy);
      const argv = readFileSync(`/proc/${envoy}/cmdline`, 'utf8').split('\0');
      expect(argv[argv.indexOf('--config-path') + 1]).toBe(world.join(dataplane.name, 'bootstrap.yaml'));
      expect(argv[argv.indexOf('--drain-time-s') + 1]).toBe('7');
      expect(argv[argv.indexOf('--drain-strategy') + 1]).toBe('immediate');
    });
  });
});

function variables(values: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => ['--dataplane-var', `${key}=${value}`]);
}

/** The command line without `--dataplane RESOURCE`. */
function withoutResource({ argv }: DataplaneCommand): readonly string[] {
  const at = argv.indexOf('--dataplane');
  return argv.toSpliced(at, 2);
}

/** kuma-dp logs the text that it made of its template. */
function renderedBy(child: ManagedProcess): string {
  const line = /rendered resource\t(\{.*\})/.exec(`${child.stderr}${child.stdout}`)?.[1];
  return (JSON.parse(line ?? '{}') as { readonly resource?: string }).resource ?? '';
}
