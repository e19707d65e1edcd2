import { readFileSync, writeFileSync } from 'node:fs';

import type { DataplaneHost } from './dataplane-host.ts';
import { documented, filledIn } from './documented.ts';
import { say, type CommandResult } from './supervisors.ts';

/** A change to a documented file, for setups that the page warns of. */
type Change = (text: string) => string;

/** supervisord with the documented programs and no other. */
export class Supervisord {
  /** Its own process and the application, among those of the host. */
  static readonly own = /supervisord|\/sleep 600$/;
  readonly #host: DataplaneHost;
  readonly #configuration: string;

  constructor(host: DataplaneHost, change: Change = (text) => text) {
    this.#host = host;
    this.#configuration = host.dir.join('supervisord.conf');
    const programs = ['kuma-dp', 'application'].map((name) => documented(PAGE, `supervisord/${name}.conf`));
    writeFileSync(host.dir.join('programs.conf'), change(filledIn(programs.join('\n'), host.places)));
    writeFileSync(this.#configuration, surroundings(host.dir.path));
  }

  /** @returns supervisord's own exit */
  start(): ReturnType<DataplaneHost['spawn']> {
    return this.#host.spawn('supervisord', ['--nodaemon', '--configuration', this.#configuration]);
  }

  /** `supervisorctl`, as an operator would type it. */
  ctl(...argv: readonly string[]): Promise<CommandResult> {
    return say('supervisorctl', '--configuration', this.#configuration, ...argv);
  }

  /** supervisord's own log of its programs. */
  get log(): string {
    return readFileSync(this.#host.dir.join('supervisord.log'), 'utf8');
  }
}

const PAGE = 'supervisors.md';

/** What Debian has in /etc/supervisor/supervisord.conf, below another folder. */
function surroundings(dir: string): string {
  return `
[unix_http_server]
file=${dir}/supervisor.sock
[supervisord]
logfile=${dir}/supervisord.log
pidfile=${dir}/supervisord.pid
childlogdir=${dir}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://${dir}/supervisor.sock
[include]
files = ${dir}/programs.conf
`;
}
