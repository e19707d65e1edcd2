import { AGENT_PROGRAM } from './agent-program.ts';
import type { Recipe } from './contents.ts';
import { DEREGISTRAR_PROGRAM } from './deregistrar-program.ts';

export interface PackageRecipe extends Recipe {
  readonly summary: string;
  readonly description: readonly string[];
  /** `ca-certificates`: an endpoint may be verified by the system's roots. `systemd`: `systemd-notify`. */
  readonly recommends: readonly string[];
  /** Of an image: folders that its user may write to, without the leading slash. */
  readonly writable: readonly string[];
}

export const RECIPES: readonly PackageRecipe[] = [
  {
    program: AGENT_PROGRAM,
    summary: 'takes a Kuma dataplane out of the mesh before it stops',
    description: [
      'Goes in front of "kuma-dp run" on a virtual machine. When the host stops the dataplane, its object is deleted at the control plane first; then its Envoy keeps serving until peers have dropped the endpoint, drains, and ends. No request fails because a dataplane stopped.',
      'An installation or an upgrade starts, stops and restarts nothing. The package brings its own Node.js, which nothing else uses.',
    ],
    recommends: ['ca-certificates', 'systemd'],
    writable: ['run/kuma-dp-agent'],
    files: { 'etc/needrestart/conf.d/kuma-dp-agent.conf': 'scripts/package/needrestart.conf' },
    environment: {
      file: 'kuma-dp-agent',
      command: 'run',
      mode: 0o644,
      intro:
        'Environment of the agent in kuma-dp.service and in every kuma-dp@NAME.service, whether they are of this package or your own: the drop-in 10-kuma-dp-agent.conf reads it after the files that the unit names. /etc/default/kuma-dp-NAME is read last, for one of several dataplanes. A unit of another name reads this file if it says EnvironmentFile=-/etc/default/kuma-dp-agent. A flag in the unit wins over these variables. A change counts from the next start on.',
    },
  },
  {
    program: DEREGISTRAR_PROGRAM,
    summary: 'finishes every departure of a Kuma dataplane',
    description: [
      'Runs beside a zone control plane of Kuma. Deletes the object of every dataplane whose agent (package kuma-dp-agent) stops or falls silent, and offline objects without an agent. It never deletes a living dataplane.',
      'An installation starts nothing; an upgrade restarts it if it runs. The package brings its own Node.js, which nothing else uses.',
    ],
    recommends: ['ca-certificates', 'systemd'],
    writable: ['run/kuma-deregistrar', 'var/lib/kuma-deregistrar'],
    files: {},
    environment: {
      file: 'kuma-deregistrar',
      command: 'serve',
      // An operator with a PostgreSQL store writes a password here.
      mode: 0o640,
      intro:
        'Environment of kuma-deregistrar.service. A flag in the unit wins over these variables. A change counts from the next start on: systemctl restart kuma-deregistrar.',
    },
  },
];
