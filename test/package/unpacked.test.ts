import { existsSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';
import { CompanionWorld } from '../support/companion-world.ts';
import { ControlPlane } from '../support/kuma/control-plane.ts';
import type { PackageName } from '../support/packages/build-packages.ts';
import { PackageFile } from '../support/packages/package-file.ts';
import { SignalScene } from '../support/signal-scene.ts';
import { ManagedProcess } from '../support/world/managed-process.ts';
import { waitUntil } from '../support/world/wait-until.ts';

let open: AsyncDisposableStack;

beforeEach(() => {
  open = new AsyncDisposableStack();
});

afterEach(() => open.disposeAsync());

/** Far from any `node_modules`. */
function unpack(name: PackageName): PackageFile {
  return open.use(new PackageFile(inject('packageFolder'), name));
}

/** As if another version had been unpacked over it, whose every file is different. */
function replaceFiles(unpacked: PackageFile): void {
  const files = unpacked.entries.filter(({ mode }) => mode.startsWith('-'));
  for (const { path } of files) {
    const file = join(unpacked.root, path);
    // Like dpkg: a new file in place of the old one, which a process that has it open keeps.
    rmSync(file);
    writeFileSync(file, 'not what was loaded');
  }
}

const STEPS = [
  ['deregister', 'gone'],
  ['settle', 'time is up'],
  ['drain', 'quiet'],
  ['exit', 'exit code 0'],
  ['confirm', 'gone'],
];

describe.each(['kuma-dp-agent', 'kuma-deregistrar'] as const)('%s from its package', (name) => {
  test('runs with nothing but a shell on the path', async () => {
    const { program } = unpack(name);
    await using version = new ManagedProcess({
      command: program,
      argv: ['version'],
      env: { PATH: '/bin' },
      cwd: '/',
    });
    expect(await version.exited).toMatchObject({ code: 0 });
    expect({ stdout: version.stdout, stderr: version.stderr }).toEqual({
      stdout: `${name} ${VERSION}\n`,
      stderr: '',
    });
  });
});

describe('a dataplane whose agent was replaced on disk while it ran', () => {
  test('leaves in the usual order: nothing is loaded at stop time', async () => {
    const controlPlane = open.use(await ControlPlane.start());
    const unpacked = unpack('kuma-dp-agent');
    const scene = open.use(
      new SignalScene({
        controlPlane,
        child: { contract: 'kuma', envoy: 'admin' },
        options: [
          '--stop-budget=10s',
          '--settle=50ms',
          `--metrics=unix:${join(unpacked.root, 'metrics.sock')}`,
          '--report-file',
          join(unpacked.root, 'stops.jsonl'),
        ],
      }),
    );
    const agent = await scene.start({ bin: unpacked.program });
    await scene.untilRunning(agent);
    expect(readlinkSync(`/proc/${agent.pid}/exe`), 'its own Node').toBe(
      join(unpacked.root, 'usr/lib/kuma-dp-agent/node'),
    );

    replaceFiles(unpacked);
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.report.steps.map(({ step, outcome }) => [step, outcome])).toEqual(STEPS);
    expect(agent.spoken).toEqual([]);
    expect(scene.deletions).toHaveLength(1);
    expect(JSON.parse(unpacked.read('stops.jsonl'))).toEqual(agent.report);
  });

  test('has loaded its control socket as well, when it does not know yet which dataplane it is', async () => {
    const controlPlane = open.use(await ControlPlane.start());
    const unpacked = unpack('kuma-dp-agent');
    const child = { contract: 'kuma', envoy: 'admin' } as const;
    const options = ['--stop-budget=10s', '--settle=50ms'];
    const scene = open.use(
      new SignalScene({ controlPlane, child, options, kumaDpOptions: ['--dataplane-file=-'] }),
    );
    const agent = await scene.start({ bin: unpacked.program, stdin: 'open' });
    await agent.waitForEvent('agent.started');

    replaceFiles(unpacked);
    agent.stdin.end(JSON.stringify(scene.resource));
    await scene.untilRunning(agent);
    const socket = scene.stateFile.replace('.json', '.sock');
    await waitUntil(() => existsSync(socket), { what: () => `${socket}; ${agent.stderr}` });
    agent.signal('SIGTERM');
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    expect(agent.seen('agent.failed')).toEqual([]);
    expect(agent.report.steps.map(({ step, outcome }) => [step, outcome])).toEqual(STEPS);
  });

  test('leaves through a companion that was replaced as well, which then ends by itself', async () => {
    const companionFiles = unpack('kuma-deregistrar');
    const world = open.use(await CompanionWorld.start({ companion: { bin: companionFiles.program } }));
    const { companion, controlPlane } = world;
    const agentFiles = unpack('kuma-dp-agent');
    const scene = open.use(
      new SignalScene({
        controlPlane,
        child: { contract: 'kuma', envoy: 'admin', listensOn: [20_001] },
        options: ['--stop-budget=10s', '--settle=50ms'],
        endpoints: [`grpc://${companion.address}`],
        put: false,
      }),
    );
    const agent = await scene.start({ bin: agentFiles.program });
    await agent.waitForEvent('dataplane.ready');

    replaceFiles(agentFiles);
    replaceFiles(companionFiles);
    agent.signal('SIGTERM');
    expect(await agent.exited, agent.stderr).toEqual({ code: 0, signal: null });
    expect(agent.report.steps.map(({ step, outcome }) => [step, outcome])).toEqual(STEPS);
    expect(scene.deletions).toHaveLength(1);
    expect(await world.departure(scene.name)).toMatchObject({ cause: 'requested', outcome: 'deleted' });
    expect(await (await fetch(`${companion.httpUrl}/`)).text()).toContain('<!doctype html>');
    expect(await companion.stop(), companion.lastOutput).toEqual({ code: 0, signal: null });
    expect(companion.spoken).toEqual([]);
  });
});
