import type { DataplaneHost } from './dataplane-host.ts';
import { type Changes, writeService } from './service-directory.ts';
import { say, type CommandResult } from './supervisors.ts';

/** runsvdir with the documented service and no other. */
export class Runit {
  /** Its own processes, among those of the host. */
  static readonly own = /^(?:\S*\/)?runsv(?:dir)?\b/;
  readonly #host: DataplaneHost;
  readonly #scanned: string;
  readonly #service: string;

  constructor(host: DataplaneHost, changes: Changes = {}) {
    this.#host = host;
    const { scanned, service } = writeService('runit', host, changes);
    this.#scanned = scanned;
    this.#service = service;
  }

  /** @returns runsvdir's own exit */
  start(): ReturnType<DataplaneHost['spawn']> {
    return this.#host.spawn('runsvdir', ['-P', this.#scanned]);
  }

  /** `sv` on the service; the word comes last of `argv`. */
  sv(...argv: readonly string[]): Promise<CommandResult> {
    return say('sv', ...argv, this.#service);
  }
}
