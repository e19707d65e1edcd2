import { execFile, spawn, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Finding } from '../../../kernel/findings.ts';
import { AGENT_BIN } from '../../support/agent-process.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { AS_ANOTHER, CopyForOthers } from '../../support/copy-for-others.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import type { ControlPlaneOptions } from '../../support/kuma/settings.ts';
import { unavailable } from '../../support/need.ts';
import { SignalScene } from '../../support/signal-scene.ts';
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
  /** Its answer about the units that are ordered after that one. */
  readonly ordered?: string;
  /** Programs that another user may run, who the doctor is then; this user if left out. */
  readonly as?: CopyForOthers;
  /** Added to the environment of the agent, not of the doctor. */
  readonly agentEnv?: Readonly<Record<string, string>>;
  /** Seconds from now at which the token expires. */
  readonly tokenExpiresIn?: number;
  readonly options?: readonly string[];
  /** Whether an agent runs the dataplane. */
  readonly runs?: boolean;
  /** Whether the command is given, and not only looked for. */
  readonly wrapped?: boolean;
  readonly before?: (world: { readonly controlPlane: ControlPlane; readonly scene: SignalScene }) => unknown;
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
  Before: 'multi-user.target shutdown.target',
  Conflicts: 'shutdown.target',
  DefaultDependencies: 'yes',
  Restart: 'always',
  SendSIGKILL: 'yes',
  FinalKillSignal: '9',
  RuntimeDirectory: 'kuma-dp-agent',
  RuntimeDirectoryPreserve: 'yes',
  LimitNOFILE: '1048576',
};

async function examine(given: Given): Promise<Examination> {
  const { controlPlane: settings = {}, runs = true, options = [] } = given;
  await using controlPlane = await ControlPlane.start(settings);
  const kumaDpOptions = given.tokenExpiresIn === undefined ? [] : ['--dataplane-token-file=token'];
  await using scene = new SignalScene({
    controlPlane,
    child: SERVES,
    kumaDpOptions,
    options: ['--settle=100ms'],
    ...(given.as === undefined ? {} : { programs: given.as }),
  });
  if (given.tokenExpiresIn !== undefined) writeFileSync(scene.dir.join('token'), token(given.tokenExpiresIn));
  const mainPid = runs ? await startAgent(scene, given) : 0;
  await given.before?.({ controlPlane, scene });
  const doctor = await scene.agent(argvOf(scene, given), {
    env: { ...scene.childEnvironment, PATH: standIn(scene, given, mainPid) },
    cwd: scene.dir.path,
    ...(given.as === undefined ? {} : { prefix: AS_ANOTHER }),
  });
  const { code } = await doctor.exited;
  expect(doctor.stderr, 'nothing crashes').toBe('');
  const stdout = doctor.stdout.toString();
  expect(scene.requests('DELETE'), 'it changes nothing').toEqual([]);
  return { code, stdout, findings: options.includes('--json') ? readJson(stdout) : [] };
}

function argvOf(scene: SignalScene, { unit, wrapped = true, options = [] }: Given): readonly string[] {
  return [
    'doctor',
    ...(unit === undefined ? [] : ['--unit=kuma-dp.service']),
    ...options,
    ...(wrapped ? scene.runArgv.slice(1) : [`--state-dir=${scene.stateDir}`]),
  ];
}

/** @returns its pid, once everything that the doctor wants to know of it is there */
async function startAgent(scene: SignalScene, { agentEnv = {} }: Given): Promise<number> {
  // The doctor looks for its programs where the agent would.
  const agent = await scene.start({ cwd: scene.dir.path, env: { PATH: withStandIns(scene), ...agentEnv } });
  await scene.untilRunning(agent);
  await waitUntil(() => readFileSync(scene.stateFile, 'utf8').includes('kumaDp'), { what: 'the state file' });
  return agent.pid;
}

/** A `systemctl` with prepared answers, and a `systemd-notify`, in a folder that comes first on the path. */
function standIn(scene: SignalScene, { unit, cat = '', ordered = '' }: Given, mainPid: number): string {
  const program = scene.dir.join('systemctl');
  const finish = `{ path=/usr/bin/kuma-dp-agent ; argv[]=/usr/bin/kuma-dp-agent deregister --state ${scene.stateDir} ; ignore_errors=yes ; }`;
  const settings = Object.entries({ MainPID: String(mainPid), ExecStopPost: finish, ...unit }).map(
    ([key, value]) => `${key}=${value}`,
  );
  writeFileSync(scene.dir.join('shown'), `${settings.join('\n')}\n`);
  writeFileSync(scene.dir.join('cat'), cat);
  const refuses = 'echo "System has not been booted with systemd as init system" >&2; exit 1';
  writeFileSync(scene.dir.join('ordered'), ordered);
  const shows = `case "$2 $3" in "show --property=Id,LoadState,ExecStop") cat ${scene.dir.join('ordered')};; show*) cat ${scene.dir.join('shown')};; cat*) cat ${scene.dir.join('cat')};; esac`;
  writeFileSync(program, `#!/bin/sh\n${unit === undefined ? refuses : shows}\n`);
  chmodSync(program, 0o755);
  writeFileSync(scene.dir.join('systemd-notify'), '#!/bin/sh\n', { mode: 0o755 });
  return withStandIns(scene);
}

function withStandIns(scene: SignalScene): string {
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
  test('finds nothing wrong with a good run, nor with its command alone', async () => {
    const running = await examine({ unit: FINE, tokenExpiresIn: 86_400 * 30 });
    expect(complaints(running.stdout)).toEqual([]);
    expect(running.code).toBe(0);
    expect(running.stdout).toContain('is the agent');
    expect(running.stdout).toContain("Envoy's admin: answers");
    expect(running.stdout).toMatch(/dataplane token: bound to mesh default, valid until/);
    expect(running.stdout, 'the token is never shown').not.toContain('eyJ');
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

  test('names what it could not see without systemd, and without a running agent', async () => {
    const found = await examine({ runs: false });
    expect(found.code).toBe(0);
    expect(found.stdout).toContain('?    systemd: cannot tell which unit runs the dataplane');
    expect(found.stdout).toContain(
      "?    Envoy's admin: this user sees no agent that runs this dataplane here",
    );
    const nothing = await examine({ runs: false, wrapped: false });
    expect(nothing.code).toBe(2);
    expect(nothing.stdout).toContain('FAIL dataplane: no agent was found running on this host');
  });

  test('names a kuma-dp that runs without an agent, and the missing prefix', async () => {
    // Said by the command line alone, as of a real one.
    const lone = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)', 'run'], {
      argv0: '/usr/bin/kuma-dp',
      stdio: 'ignore',
    });
    try {
      const found = await examine({ runs: false, wrapped: false });
      expect(found.stdout).toMatch(
        /FAIL dataplane: no agent was found running on this host, but kuma-dp, pid \d+.*runs without an agent/,
      );
      expect(found.stdout).toContain('put "kuma-dp-agent run --" in front of "kuma-dp run"');
      expect(found.stdout).not.toContain('say which');
    } finally {
      lone.kill('SIGKILL');
    }
  });

  test('shows since when a dataplane is drained', async () => {
    const found = await examine({
      unit: FINE,
      before: async ({ scene }) => {
        await promisify(execFile)(AGENT_BIN, ['drain', `--state-dir=${scene.stateDir}`]);
      },
    });
    expect(complaints(found.stdout)).toContainEqual(
      expect.stringMatching(/^WARN rotation: drained since \d{4}-\d\d-\d\dT/),
    );
    expect(found.code).toBe(1);
  });

  test('names a drop-in that breaks the stop, and the remedy', async () => {
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

  test('fails for an expired token, and for a supervisor’s limit below the budget', async () => {
    const found = await examine({ tokenExpiresIn: -60, runs: false, options: ['--supervisor-timeout=30s'] });
    expect(found.code).toBe(2);
    expect(complaints(found.stdout)).toEqual([
      expect.stringMatching(/^FAIL notice of a stop: 30s, the stop budget is 1m/),
      expect.stringMatching(/^FAIL dataplane token: bound to mesh default, .*expired/),
    ]);
    expect(found.stdout).toContain('--stop-budget 29s');
  });

  test('warns of an application that stops while its endpoint is still in rotation, and of no other', async () => {
    const found = await examine({
      unit: { ...FINE, Before: 'multi-user.target shop.service cart.service' },
      ordered: `Id=shop.service\nLoadState=loaded\nExecStop={ path=/bin/x ; argv[]=/usr/bin/kuma-dp-agent drain --wait ; }\n\nId=cart.service\nLoadState=loaded\n`,
    });
    expect(found.code).toBe(1);
    expect(complaints(found.stdout)).toEqual([
      expect.stringMatching(/^WARN applications: cart\.service: ordered after kuma-dp\.service/),
    ]);
    expect(found.stdout).toContain('ExecStop=-+/usr/bin/kuma-dp-agent drain --wait');
  });

  test('warns of a host that cannot clean up after a killed agent', async () => {
    const found = await examine({
      unit: {
        ...FINE,
        ExecStopPost: '',
        Restart: 'no',
        SendSIGKILL: 'no',
        DefaultDependencies: 'no',
        Conflicts: '',
      },
      runs: false,
    });
    expect(found.code).toBe(1);
    expect(complaints(found.stdout).map((line) => line.split(':')[0])).toEqual([
      'WARN after a killed agent',
      'WARN Restart',
      'WARN end of a stop that hangs',
      'WARN reboot and power-off',
    ]);
  });

  test('accepts the unit of Kuma’s documentation with our drop-in', async () => {
    const documented = { Type: 'simple', TimeoutStopUSec: '1min 30s', TimeoutStartUSec: '1min 30s' };
    const found = await examine({ unit: { ...FINE, ...documented } });
    expect(complaints(found.stdout)).toEqual([]);
    expect(found.code).toBe(0);
  });

  test('warns of a control plane that forgets what vanishes', async () => {
    const found = await examine({ controlPlane: { version: '2.10.1' }, runs: false });
    expect(found.code).toBe(1);
    expect(complaints(found.stdout)).toEqual([
      expect.stringMatching(/^WARN leak of offline dataplanes: 2\.10\.1/),
    ]);
  });
});

const [SETPRIV, ...AS] = AS_ANOTHER;

/** The program that the doctor asks is within reach, the state is not. */
function halfVisible({ scene }: { readonly scene: SignalScene }): void {
  chmodSync(scene.dir.path, 0o711);
  chmodSync(scene.stateDir, 0o700);
}

describe('doctor, as a user who may see little', () => {
  let another: CopyForOthers;

  beforeAll(() => {
    another = new CopyForOthers();
  });

  afterAll(() => another[Symbol.dispose]());

  beforeEach((context) => {
    if (spawnSync(SETPRIV, [...AS, another.bin, 'version']).status !== 0)
      unavailable(context, 'no other user can be tried: run as root, with a TMPDIR that it may enter');
  });

  test('shows what it can see, and marks what it cannot', async () => {
    const found = await examine({
      unit: {
        ...FINE,
        KillMode: 'control-group',
        Type: 'exec',
        NotifyAccess: 'none',
        TimeoutStopUSec: '20s',
      },
      wrapped: false,
      as: another,
      // With it the limit is enough, but an environment is shown to no other user.
      agentEnv: { KUMA_DP_AGENT_STOP_BUDGET: '5s' },
      tokenExpiresIn: -60,
      before: halfVisible,
    });
    expect(complaints(found.stdout)).toEqual([expect.stringMatching(/^FAIL KillMode: control-group/)]);
    expect(found.code).toBe(2);
    expect(found.stdout).toMatch(/^\? {4}dataplane/m);
    expect(found.stdout).toMatch(/^\? {4}TimeoutStopSec: 20s/m);
    expect(found.stdout).toMatch(/^ok {3}main process: pid \d+ is the agent$/m);
    expect(found.stdout).toMatch(/^\? {4}Envoy's admin: /m);
  });

  test('judges a given command by files and network', async () => {
    const found = await examine({ unit: FINE, as: another, before: halfVisible, options: ['--json'] });
    expect(found.findings.filter(({ level }) => level === 'failure' || level === 'warning')).toEqual([]);
    expect(found.code).toBe(0);
    expect(found.findings).toContainEqual(
      expect.objectContaining({ about: expect.stringMatching(/^endpoint/) as string, level: 'ok' }),
    );
  });

  test('does not claim that no agent runs if it may not see agents', async () => {
    const found = await examine({ wrapped: false, as: another, before: halfVisible });
    expect(complaints(found.stdout)).toEqual([]);
    expect(found.stdout).toContain('?    dataplane: no agent was found running on this host');
    expect(found.stdout).toMatch(/this user may not read the state folder\n.*run the doctor as root/);
    expect(found.code).toBe(0);
  });
});

// By itself: it looks for three seconds at an endpoint, which is short beside a dozen others.
describe('doctor, beside a companion', () => {
  test('fails for a companion that refuses the token, before a stop does', async () => {
    await using world = await CompanionWorld.start({
      controlPlane: { localhostIsAdmin: true },
      companion: { authn: 'token' },
    });
    await using scene = new SignalScene({
      controlPlane: world.controlPlane,
      child: SERVES,
      endpoints: [`grpc://${world.companion.address}`],
      kumaDpOptions: ['--dataplane-token-file=token'],
    });
    // Of a key that this control plane has not.
    const unknown = token(86_400 * 30);
    writeFileSync(scene.dir.join('token'), unknown);
    // Until it has read the keys, a companion cannot tell.
    using asking = world.agent(scene.name, { token: unknown });
    const refusal = (): Promise<string> => asking.getControlPlane().then(() => '', String);
    await waitUntil(async () => (await refusal()).includes('UNAUTHENTICATED'), {
      what: 'the keys to be read',
    });
    const argv = ['doctor', ...scene.runArgv.slice(1)];
    const doctor = await scene.agent(argv, { env: scene.childEnvironment, cwd: scene.dir.path });
    expect(await doctor.exited).toEqual({ code: 2, signal: null });
    expect(complaints(doctor.stdout.toString())).toEqual([
      expect.stringMatching(/^FAIL endpoint grpc:.*UNAUTHENTICATED: .*--dataplane-token-file/),
    ]);
  });
});
