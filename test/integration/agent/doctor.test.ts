import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import type { Finding } from '../../../kernel/findings.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import type { ControlPlaneOptions } from '../../support/kuma/settings.ts';
import { Scene } from '../../support/signal-scene.ts';
import { makeSigningKey, bySha, signToken } from '../../support/signed-token.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

interface Examination {
  readonly code: number | null;
  readonly stdout: string;
  readonly findings: readonly Finding[];
}

interface Given {
  readonly controlPlane?: ControlPlaneOptions;
  /** Settings of the unit that the stand-in for systemctl shows; without any there is no systemd. */
  readonly unit?: Readonly<Record<string, string>>;
  readonly cat?: string;
  /** Seconds from now at which the token expires. */
  readonly tokenExpiresIn?: number;
  readonly options?: readonly string[];
  /** Whether an agent runs the dataplane. */
  readonly runs?: boolean;
  /** Whether the command is given, and not only looked for. */
  readonly wrapped?: boolean;
  readonly before?: (world: { readonly controlPlane: ControlPlane; readonly scene: Scene }) => unknown;
}

const SERVES = { contract: 'kuma', envoy: 'admin', exit: { code: 0 } } as const;

const FINE = {
  Id: 'kuma-dp.service',
  LoadState: 'loaded',
  NeedDaemonReload: 'no',
  Type: 'notify',
  NotifyAccess: 'all',
  KillMode: 'mixed',
  KillSignal: '15',
  TimeoutStopUSec: '1min 15s',
  TimeoutStartUSec: 'infinity',
  After: 'network-online.target nss-lookup.target time-sync.target',
  User: 'kuma-dp',
};

async function examine(given: Given): Promise<Examination> {
  const { controlPlane: settings = {}, runs = true, options = [] } = given;
  await using controlPlane = await ControlPlane.start(settings);
  const kumaDpOptions = given.tokenExpiresIn === undefined ? [] : ['--dataplane-token-file=token'];
  await using scene = new Scene({
    controlPlane,
    child: SERVES,
    kumaDpOptions,
    options: ['--settle=100ms'],
  });
  if (given.tokenExpiresIn !== undefined) writeFileSync(scene.dir.join('token'), token(given.tokenExpiresIn));
  const mainPid = runs ? await startAgent(scene) : 0;
  await given.before?.({ controlPlane, scene });
  const doctor = await scene.agent(argvOf(scene, given), {
    env: { ...scene.childEnvironment, PATH: standIn(scene, given, mainPid) },
    cwd: scene.dir.path,
  });
  const { code } = await doctor.exited;
  const stdout = doctor.stdout.toString();
  expect(scene.requests('DELETE'), 'it changes nothing').toEqual([]);
  return { code, stdout, findings: options.includes('--json') ? readJson(stdout) : [] };
}

function argvOf(scene: Scene, { unit, wrapped = true, options = [] }: Given): readonly string[] {
  return [
    'doctor',
    ...(unit === undefined ? [] : ['--unit=kuma-dp.service']),
    ...options,
    ...(wrapped ? scene.runArgv.slice(1) : [`--state-dir=${scene.stateDir}`]),
  ];
}

/** @returns its pid, once everything that the doctor wants to know of it is there */
async function startAgent(scene: Scene): Promise<number> {
  const agent = await scene.start({ cwd: scene.dir.path });
  await scene.untilRunning(agent);
  // The stand-in hands its bootstrap over through a pipe, which can be read once; kuma-dp's is a file.
  const bootstrap = scene.dir.join('bootstrap.yaml');
  rmSync(bootstrap);
  writeFileSync(
    bootstrap,
    JSON.stringify({ admin: { address: { pipe: { path: scene.dir.join('admin.sock') } } } }),
  );
  await waitUntil(() => readFileSync(scene.stateFile, 'utf8').includes('kumaDp'), { what: 'the state file' });
  return agent.pid;
}

/** A `systemctl` that shows what it was told to, in a folder that comes first on the path. */
function standIn(scene: Scene, { unit, cat = '' }: Given, mainPid: number): string {
  const program = scene.dir.join('systemctl');
  const settings = Object.entries({ MainPID: String(mainPid), ...unit }).map(
    ([key, value]) => `${key}=${value}`,
  );
  writeFileSync(scene.dir.join('shown'), `${settings.join('\n')}\n`);
  writeFileSync(scene.dir.join('cat'), cat);
  const refuses = 'echo "System has not been booted with systemd as init system" >&2; exit 1';
  const shows = `case "$2" in show) cat ${scene.dir.join('shown')};; cat) cat ${scene.dir.join('cat')};; esac`;
  writeFileSync(program, `#!/bin/sh\n${unit === undefined ? refuses : shows}\n`);
  chmodSync(program, 0o755);
  return `${scene.dir.path}:${process.env['PATH'] ?? ''}`;
}

function readJson(stdout: string): readonly Finding[] {
  return (JSON.parse(stdout) as { readonly findings: readonly Finding[] }).findings;
}

const KEY = makeSigningKey();

function token(expiresIn: number): string {
  const exp = Math.floor(Date.now() / 1_000) + expiresIn;
  return signToken(
    { alg: 'RS256', kid: '1' },
    { Name: '', Mesh: 'default', exp },
    bySha(256, KEY.privateKey),
  );
}

function complaints(stdout: string): readonly string[] {
  return stdout.split('\n').filter((line) => /^(FAIL|WARN)/.test(line));
}

describe.concurrent('doctor', () => {
  test('finds nothing where all is well, of a run and of its command alone', async () => {
    const running = await examine({ unit: FINE, tokenExpiresIn: 86_400 * 30 });
    expect(complaints(running.stdout)).toEqual([]);
    expect(running.code).toBe(0);
    expect(running.stdout).toContain('is the agent');
    expect(running.stdout).toContain("Envoy's admin: answers");
    expect(running.stdout).toMatch(/dataplane token: bound to mesh default, valid until/);
    expect(running.stdout, 'the token is shown to nobody').not.toContain('eyJ');
  });

  test('learns the command from the running agent, as JSON too', async () => {
    const found = await examine({ unit: FINE, wrapped: false, options: ['--json'] });
    expect(found.code).toBe(0);
    expect(found.findings[0]).toMatchObject({
      level: 'ok',
      about: expect.stringMatching(/^dataplane default\/web-/) as string,
      says: expect.stringMatching(/^from the running agent, pid \d+$/) as string,
    });
    expect(found.findings.map(({ about }) => about)).toContain('KillMode');
  });

  test('says what it could not see without systemd, and where nothing runs', async () => {
    const found = await examine({ runs: false });
    expect(found.code).toBe(0);
    expect(found.stdout).toContain('?    systemd: it is not known which unit runs the dataplane');
    expect(found.stdout).toContain("?    Envoy's admin: no agent runs this dataplane here");
    const nothing = await examine({ runs: false, wrapped: false });
    expect(nothing.code).toBe(2);
    expect(nothing.stdout).toContain('FAIL dataplane: no agent was found running on this host');
  });

  test('names a drop-in that breaks the stop, and what would mend it', async () => {
    const dropIn = '/etc/systemd/system/kuma-dp.service.d/short.conf';
    const found = await examine({
      unit: {
        ...FINE,
        Type: 'simple',
        NotifyAccess: 'none',
        TimeoutStopUSec: '5s',
        KillMode: 'control-group',
      },
      cat: `# /lib/systemd/system/kuma-dp.service\n[Service]\nKillMode=mixed\nTimeoutStopSec=75s\n\n# ${dropIn}\n[Service]\nTimeoutStopSec=5s\nKillMode=control-group\n`,
    });
    expect(found.code).toBe(2);
    expect(complaints(found.stdout)).toEqual([
      expect.stringContaining(`FAIL KillMode: control-group (${dropIn}): Envoy is told to stop`),
      `FAIL TimeoutStopSec: 5s (${dropIn}), the stop budget is 1m0s: SIGKILL comes first`.replace(
        '1m0s',
        '1m',
      ),
    ]);
    expect(found.stdout).toContain('TimeoutStopSec=75s, or a smaller --stop-budget');
  });

  test('fails for a global control plane, and for one that is down', async () => {
    const [global, down] = await Promise.all([
      examine({ controlPlane: { mode: 'global' } }),
      examine({ before: ({ controlPlane }) => controlPlane.stop() }),
    ]);
    expect(global.code).toBe(2);
    expect(complaints(global.stdout)).toEqual([
      expect.stringMatching(/^FAIL endpoint http:.*: global, version 2\.14\.3/),
    ]);
    expect(down.code).toBe(2);
    expect(complaints(down.stdout)).toEqual([expect.stringMatching(/^FAIL endpoint http:.*ECONNREFUSED/)]);
  });

  test('fails for an expired token, and for a notice that is shorter than the budget', async () => {
    const found = await examine({ tokenExpiresIn: -60, runs: false, options: ['--supervisor-timeout=30s'] });
    expect(found.code).toBe(2);
    expect(complaints(found.stdout)).toEqual([
      expect.stringMatching(/^FAIL notice of a stop: 30s, the stop budget is 1m/),
      expect.stringMatching(/^FAIL dataplane token: bound to mesh default, .*expired/),
    ]);
    expect(found.stdout).toContain('--stop-budget 29s');
  });

  test('warns of a control plane that forgets what vanishes', async () => {
    const found = await examine({ controlPlane: { version: '2.10.1' }, runs: false });
    expect(found.code).toBe(1);
    expect(complaints(found.stdout)).toEqual([
      expect.stringMatching(/^WARN leak of offline dataplanes: 2\.10\.1/),
    ]);
  });
});
