import { execFileSync } from 'node:child_process';

import { sendSignal } from '../world/processes.ts';
import { IN_PID_NAMESPACE } from '../need.ts';
import { childrenOf } from '../world/power-loss.ts';
import { waitUntil } from '../world/wait-until.ts';
import type { DataplaneHost, HostExit } from './dataplane-host.ts';
import { documented, filledIn } from './documented.ts';

/** The inits of the page; `bare` is none. */
export type Init = 'bare' | 'tini' | 'dumb-init';

/**
 * What a container runtime gives an ENTRYPOINT and CMD: a PID namespace of its own, in which it is PID 1. Files
 * and network are the host's.
 */
export class Container {
  readonly #host: DataplaneHost;
  readonly #argv: readonly string[];
  #exited: Promise<HostExit> | undefined;
  #pid = 0;

  /** @param argv entrypoint and command, with this host's places */
  constructor(host: DataplaneHost, argv: readonly string[]) {
    this.#host = host;
    this.#argv = argv;
  }

  /**
   * As docs/install/containers.md has it.
   *
   * @param change to the command line, for setups that the page warns of
   */
  static documented(
    host: DataplaneHost,
    init: Init,
    change: (argv: readonly string[]) => readonly string[] = (a) => a,
  ): Container {
    const entrypoint = instruction(`docker/${init}`, 'ENTRYPOINT', host);
    return new Container(host, change([...entrypoint, ...instruction('docker/bare', 'CMD', host)]));
  }

  async start(): Promise<void> {
    const [unshare, ...options] = IN_PID_NAMESPACE;
    const { exited, pid } = this.#host.spawn(unshare, [...options, ...this.#argv]);
    this.#exited = exited;
    // Its pid as seen from outside; inside it is 1.
    this.#pid = await waitUntil(() => childrenOf(pid)[0], { what: 'a first process in the container' });
  }

  get exited(): Promise<HostExit> {
    if (this.#exited === undefined) throw new Error('Not started');
    return this.#exited;
  }

  /** `docker stop`: SIGTERM to PID 1, and SIGKILL when the limit is over. */
  async stop(limitMs: number): Promise<HostExit> {
    const { exited } = this;
    const timer = setTimeout(() => {
      this.signal('SIGKILL');
    }, limitMs);
    this.signal('SIGTERM');
    try {
      return await exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** `docker kill` */
  signal(signal: NodeJS.Signals): void {
    sendSignal(this.#pid, signal);
  }

  /** `docker exec`: returns when the command has ended. */
  exec(...argv: readonly string[]): void {
    execFileSync('nsenter', ['--target', String(this.#pid), '--pid', '--mount', ...argv], {
      env: { ...process.env, ...this.#host.environment },
      stdio: 'ignore',
    });
  }
}

/** The words of an instruction in exec form. */
function instruction(block: string, name: 'ENTRYPOINT' | 'CMD', host: DataplaneHost): readonly string[] {
  const text = documented('containers.md', block).replaceAll('\\\n', '');
  const words = new RegExp(`^${name} (\\[.*\\])$`, 'm').exec(text)?.[1];
  if (words === undefined) throw new Error(`No ${name} in exec form in ${block}`);
  return JSON.parse(filledIn(words, host.places)) as string[];
}
