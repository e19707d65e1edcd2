import type { DataplaneHost } from './dataplane-host.ts';
import { type Changes, writeService } from './service-directory.ts';
import { say, type CommandResult } from './supervisors.ts';

/** s6-svscan with the documented service and no other. */
export class S6 {
  /** Its own processes, among those of the host. */
  static readonly own = /^(?:\S*\/)?s6-(?:svscan|supervise)\b/;
  readonly #host: DataplaneHost;
  readonly #scanned: string;
  readonly #service: string;

  constructor(host: DataplaneHost, changes: Changes = {}) {
    this.#host = host;
    const { scanned, service } = writeService('s6', host, changes);
    this.#scanned = scanned;
    this.#service = service;
  }

  /** @returns s6-svscan's own exit */
  start(): ReturnType<DataplaneHost['spawn']> {
    return this.#host.spawn('s6-svscan', [this.#scanned]);
  }

  /** `s6-svc` on the service. */
  svc(...argv: readonly string[]): Promise<CommandResult> {
    return say('s6-svc', ...argv, this.#service);
  }

  svscanctl(...argv: readonly string[]): Promise<CommandResult> {
    return say('s6-svscanctl', ...argv, this.#scanned);
  }

  /** How the last run ended: `0 NA`, or `-1 SIGKILL`. */
  async lastExit(): Promise<string> {
    return (await say('s6-svstat', '-o', 'exitcode,signal', this.#service)).text;
  }
}
