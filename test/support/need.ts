import { spawnSync } from 'node:child_process';

import type { TestContext } from 'vitest';

import { isOnPath } from '../../scripts/package/tools.ts';

/** Programs that tests run beside npm's packages and every Debian's own, with Debian's package of each. */
const PACKAGES = {
  'ansible-playbook': 'ansible-core',
  'dumb-init': 'dumb-init',
  iptables: 'iptables',
  nsenter: 'util-linux',
  pgbouncer: 'pgbouncer',
  promtool: 'prometheus',
  runsvdir: 'runit',
  's6-svc': 's6',
  's6-svscan': 's6',
  supervisorctl: 'supervisor',
  supervisord: 'supervisor',
  sv: 'runit',
  'systemd-analyze': 'systemd',
  'systemd-notify': 'systemd',
  tini: 'tini',
} as const;

/** Runs the command that follows as the first process of a PID namespace. */
export const IN_PID_NAMESPACE = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child=KILL'] as const;

type Program = keyof typeof PACKAGES;

/** Skips the test where a program is missing, with the package that brings it. In CI the test fails. */
export function need(context: TestContext, ...programs: readonly Program[]): void {
  const reason = missing(programs);
  if (reason !== undefined) unavailable(context, reason);
}

/** Skips the test where no PID namespace can be made. In CI the test fails. */
export function needPidNamespace(context: TestContext): void {
  const [unshare, ...argv] = IN_PID_NAMESPACE;
  if (spawnSync(unshare, [...argv, 'true']).status !== 0)
    unavailable(context, 'no PID namespace can be made here: run as root');
}

/** Skips the test with a reason. In CI the test fails: everything is available there. */
export function unavailable({ skip }: TestContext, reason: string): void {
  if (process.env['CI'] === 'true') throw new Error(reason);
  skip(reason);
}

/** @returns one line; `undefined` if all are installed */
function missing(programs: readonly Program[]): string | undefined {
  const absent = programs.filter((program) => !isOnPath(program));
  if (absent.length === 0) return undefined;
  const packages = new Set(absent.map((program) => PACKAGES[program]));
  return `${absent.join(', ')} not found: apt-get install --no-install-recommends ${[...packages].join(' ')}`;
}
