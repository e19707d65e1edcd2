import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { AGENT_BIN } from '../../support/agent-process.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { SignalScene } from '../../support/signal-scene.ts';
import { bySha, makeSigningKey, signToken } from '../../support/signed-token.ts';
import { ManagedProcess } from '../../support/world/managed-process.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const USER_TOKEN = 'user-token-that-must-stay-secret';
const HOOK_SECRET = 'hook-password-that-must-stay-secret';
const DATAPLANE_TOKEN = signToken(
  { alg: 'RS256', kid: '1', typ: 'JWT' },
  { Name: '', Mesh: 'default', Tags: {} },
  bySha(256, makeSigningKey().privateKey),
);

/** The claims of docs/security/threat-model.md about the files of a host and the log. */
test('no token is in the log, the state folder, the report, or the output of status and doctor', async () => {
  await using controlPlane = await ControlPlane.start({ userTokens: [USER_TOKEN] });
  await using scene = new SignalScene({
    controlPlane,
    child: { contract: 'kuma', envoy: 'admin', drainMs: 30_000 },
    kumaDpOptions: [`--dataplane-token=${DATAPLANE_TOKEN}`],
    options: ['--settle=100ms', '--log-level=debug', `--on-leave=: ${HOOK_SECRET}`],
  });
  const tokenFile = scene.dir.join('user-token');
  const reportFile = scene.dir.join('reports.jsonl');
  writeFileSync(tokenFile, USER_TOKEN);
  const agent = await scene.start({
    env: { KUMA_DP_AGENT_USER_TOKEN_FILE: tokenFile, KUMA_DP_AGENT_REPORT_FILE: reportFile },
  });
  await scene.untilRunning(agent);
  await agent.waitForEvent('endpoint.reached');
  const status = await output('status', '--json', '--state-dir', scene.stateDir);
  // Of the command: the child's bootstrap is a pipe, which only its own agent may read.
  const separator = scene.runArgv.indexOf('--');
  const elsewhere = ['--endpoint', controlPlane.httpUrl, '--state-dir', scene.dir.join('nowhere')];
  const doctor = await output('doctor', '--json', ...elsewhere, ...scene.runArgv.slice(separator));
  agent.signal('SIGTERM');
  await agent.exited;
  await waitUntil(() => agent.seen('stop.reported').length === 1, { what: 'the stop report' });

  const written = {
    log: agent.events.map((event) => JSON.stringify(event)).join('\n'),
    state: readdirSync(scene.stateDir)
      .filter((name) => name.endsWith('.json'))
      .map((name) => readFileSync(join(scene.stateDir, name), 'utf8'))
      .join('\n'),
    report: readFileSync(reportFile, 'utf8'),
    status,
    doctor,
  };
  // Each is there, and speaks of this dataplane.
  for (const text of Object.values(written)) expect(text).toContain(scene.name);
  const told = Object.entries(written).filter(([, text]) =>
    [USER_TOKEN, DATAPLANE_TOKEN, HOOK_SECRET].some((secret) => text.includes(secret)),
  );
  expect(told.map(([where]) => where)).toEqual([]);
  // The control plane was really asked with the one, and never with the other.
  expect(controlPlane.journal.sawInRest(USER_TOKEN)).toBe(true);
  expect(controlPlane.journal.sawInRest(DATAPLANE_TOKEN)).toBe(false);
  expect(statSync(scene.stateDir).mode & 0o777).toBe(0o700);
  expect(statSync(scene.stateFile).mode & 0o777).toBe(0o600);
  expect(statSync(reportFile).mode & 0o007).toBe(0);
});

test.for([
  'https://u:S3CR3T@127.0.0.1:1/',
  'postgres://u:S3CR3T#/?@127.0.0.1:1/db',
  'eyJhbGciOiJSUzI1NiJ9.S3CR3T.c2ln',
  '-----BEGIN EC PRIVATE KEY-----\nS3CR3T',
])('%s in place of a file is not shown by any command', async (value) => {
  using dir = new TemporaryDir();
  const kumaDp = ['--', 'kuma-dp', 'run', '--name=a', '--mesh=b'];
  const asked = [
    ...['ca-file', 'user-token-file', 'client-key-file', 'state-dir'].map((flag) => [
      'plan',
      `--${flag}`,
      value,
      ...kumaDp,
    ]),
    [
      'plan',
      ...kumaDp,
      `--dataplane-token-file=${value}`,
      `--ca-cert-file=${value}`,
      `--dataplane-file=${value}`,
    ],
    ['status', '--state-dir', value],
    ['drain', '--state', value],
    ['deregister', '--state', value],
    ['report', value],
    ['doctor', '--ca-file', value, ...kumaDp],
  ];
  for (const argv of asked) {
    const { stdout, stderr } = spawnSync(AGENT_BIN, argv, { cwd: dir.path, encoding: 'utf8' });
    expect(`${stdout}${stderr}`, argv.join(' ')).not.toContain('S3CR3T');
  }
});

async function output(...argv: readonly string[]): Promise<string> {
  await using command = new ManagedProcess({ command: AGENT_BIN, argv });
  await command.exited;
  return command.stdout;
}
