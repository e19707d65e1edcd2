import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { freePort } from './world/free-port.ts';
import { processState } from './world/processes.ts';
import { waitUntil } from './world/wait-until.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The built companion, or the one that `KUMA_DEREGISTRAR_BIN` names: a test build or a mutant, for example. */
export const COMPANION_BIN =
  process.env['KUMA_DEREGISTRAR_BIN'] ?? join(ROOT, 'dist', 'bin', 'kuma-deregistrar');

/** The module that the launcher runs in Node. */
const COMPANION_MODULE = join(ROOT, 'dist', 'kuma-deregistrar', 'main.js');

export interface CompanionOptions {
  /** REST API of each control plane. */
  readonly kumaApi: readonly string[];
  /** A folder of its own: store, admin socket. Short, since a socket is made in it. */
  readonly dir: string;
  /** `postgres://…`, or a file; `state.db` in {@link dir} if left out. */
  readonly store?: string;
  /** `unix:PATH` or `HOST:PORT`; a free port on loopback if left out. The same again after a restart. */
  readonly listen?: string;
  /** `HOST:PORT` of its HTTP listeners; a free port on loopback if left out. */
  readonly http?: string;
  /** `none`, in plain text, if left out. `token` takes the other flags. */
  readonly authn?: 'none' | 'token';
  /** A certificate for agents to verify, or the control plane's own, which kuma-dp verifies; plain text if left out. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string } | 'of the control plane';
  readonly publicKeys?: readonly string[];
  readonly grace?: string;
  readonly sweepOfflineAfter?: string;
  readonly heal?: 'on' | 'off';
  /** Further arguments of `serve`. */
  readonly argv?: readonly string[];
  /** Added to the environment of this process; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The program, if it is not {@link COMPANION_BIN}. */
  readonly bin?: string;
  /** A module that its Node imports first: the launcher keeps `NODE_OPTIONS` away from it. */
  readonly preload?: string;
}

export interface CompanionExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One line of the companion's log. */
export type CompanionEvent = Readonly<Record<string, unknown>> & { readonly event: string };

const PATIENCE_MS = 60_000;

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<CompanionExit>;
  exit: CompanionExit | undefined;
}

/**
 * `kuma-deregistrar serve` as a real process. A test can kill it, stop it in mid-step and start it again on the same
 * ports and the same store. Events of all its runs are kept.
 */
export class CompanionProcess implements AsyncDisposable {
  readonly events: CompanionEvent[] = [];
  /** Lines that it wrote and that are no events. */
  readonly spoken: string[] = [];
  /** Where agents attach: `127.0.0.1:5690` or `unix:…`. */
  readonly address: string;
  /** `/livez`, `/readyz`, `/metrics`. */
  readonly httpUrl: string;
  readonly adminSocket: string;
  readonly store: string;
  readonly #options: CompanionOptions;
  #run: Run | undefined;
  #runs = 0;

  private constructor(options: CompanionOptions, ports: { readonly listen: number; readonly http: number }) {
    this.#options = options;
    this.address = options.listen ?? `127.0.0.1:${ports.listen}`;
    this.httpUrl = `http://127.0.0.1:${options.http?.split(':').at(-1) ?? ports.http}`;
    this.adminSocket = join(options.dir, 'admin.sock');
    this.store = options.store ?? join(options.dir, 'state.db');
  }

  /** Chooses ports, starts nothing. */
  static async create(options: CompanionOptions): Promise<CompanionProcess> {
    return new CompanionProcess(options, { listen: await freePort(), http: await freePort() });
  }

  /** Starts it and waits until it is ready. */
  static async start(options: CompanionOptions): Promise<CompanionProcess> {
    await using disposables = new AsyncDisposableStack();
    const companion = disposables.use(await CompanionProcess.create(options));
    await companion.start();
    await companion.waitUntilReady();
    disposables.move();
    return companion;
  }

  /** Of {@link address}, unless that is a Unix socket. */
  get port(): number {
    return Number(this.address.split(':').at(-1));
  }

  /** @throws Error while it does not run */
  get pid(): number {
    const pid = this.#run?.child.pid;
    if (pid === undefined || !this.running) throw new Error(`The companion does not run: ${this.lastOutput}`);
    return pid;
  }

  get running(): boolean {
    return this.#run !== undefined && this.#run.exit === undefined;
  }

  /** The arguments that it was started with. */
  get argv(): readonly string[] {
    const { kumaApi, authn = 'none', tls, publicKeys = [], grace, sweepOfflineAfter, heal } = this.#options;
    const files = tls === 'of the control plane' ? undefined : tls;
    return [
      'serve',
      ...kumaApi.flatMap((url) => flag('kuma-api', url)),
      ...flag('store', this.store),
      ...flag('listen', this.address),
      ...flag('admin-socket', this.adminSocket),
      ...flag('http', this.#options.http ?? new URL(this.httpUrl).host),
      ...flag('authn', authn),
      ...(tls === undefined ? ['--plaintext'] : []),
      ...flag('tls-cert-file', files?.certificateFile),
      ...flag('tls-key-file', files?.keyFile),
      ...publicKeys.flatMap((key) => flag('public-key', key)),
      ...flag('grace', grace),
      ...flag('sweep-offline-after', sweepOfflineAfter),
      ...flag('heal', heal),
      ...(this.#options.argv ?? []),
    ];
  }

  /** Starts it, for the first time or again. Waits while another process replaces the build. */
  async start(): Promise<void> {
    if (this.running) return;
    const { bin = COMPANION_BIN, env = {}, dir, preload } = this.#options;
    await waitUntil(() => existsSync(bin), { what: `a built companion: ${bin}` });
    const program = preload === undefined ? [bin] : [process.execPath, '--import', preload, COMPANION_MODULE];
    const [command = '', ...argv] = [...program, ...this.argv];
    const child = spawn(command, argv, {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#runs += 1;
    const run: Run = { child, ended: untilExit(child), exit: undefined };
    // Callers that await the end get the error; the process need not be awaited.
    run.ended.then((exit) => (run.exit = exit)).catch(() => (run.exit = { code: null, signal: null }));
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        this.#read(line);
      });
    }
    this.#run = run;
  }

  /** @throws Error if it ends, or takes too long, before it answers that it is ready */
  async waitUntilReady(budgetMs = PATIENCE_MS): Promise<void> {
    await this.#until('it to be ready', budgetMs, async () => {
      return (await statusOf(`${this.httpUrl}/readyz`)) === 200 || undefined;
    });
  }

  seen(event: string): readonly CompanionEvent[] {
    return this.events.filter((line) => line.event === event);
  }

  /** @throws Error if it ends, or `budgetMs` passes, before it logged `event` `count` times in all its runs */
  async waitForEvent(
    event: string,
    options: { readonly count?: number; readonly budgetMs?: number } = {},
  ): Promise<CompanionEvent> {
    const { count = 1, budgetMs = 30_000 } = options;
    return this.#until(`event ${event} (${count})`, budgetMs, () => this.seen(event)[count - 1]);
  }

  /** SIGSTOP: it stops wherever it is, with its connections open. */
  async pause(): Promise<void> {
    const { pid } = this;
    process.kill(pid, 'SIGSTOP');
    await waitUntil(() => processState(pid) === 'T', { what: 'the companion to stand still' });
  }

  continue(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** SIGKILL, as a crash: of it or of its host. */
  kill(): Promise<CompanionExit> {
    return this.#end('SIGKILL');
  }

  /** SIGTERM, and SIGCONT in case it is stopped. */
  stop(): Promise<CompanionExit> {
    return this.#end('SIGTERM');
  }

  /** Ends it and starts it on the same ports and store; returns once it is ready. */
  async restart(how: 'kill' | 'stop' = 'stop'): Promise<void> {
    await this[how]();
    await this.start();
    await this.waitUntilReady();
  }

  /** How this run ended, once it has. */
  async exited(): Promise<CompanionExit> {
    if (this.#run === undefined) throw new Error('The companion was never started');
    return this.#run.ended;
  }

  get lastOutput(): string {
    const events = this.events.slice(-10).map((event) => JSON.stringify(event));
    return [`run ${this.#runs}`, ...this.spoken.slice(-10), ...events].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.kill();
  }

  /** Events from before its end still count after it. */
  async #until<T extends object | true>(
    what: string,
    budgetMs: number,
    look: () => T | undefined | Promise<T | undefined>,
  ): Promise<T> {
    const run = this.#run;
    const watched = async (): Promise<T | 'ended' | undefined> => {
      const ended = run !== undefined && run.exit !== undefined;
      return (await look()) ?? (ended ? 'ended' : undefined);
    };
    const found = await waitUntil(watched, { what, budgetMs }).catch((cause: unknown) => {
      throw new Error(`The companion kept waiting for ${what}: ${this.lastOutput}`, { cause });
    });
    if (found === 'ended') throw new Error(`The companion ended before ${what}: ${this.lastOutput}`);
    return found;
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<CompanionExit> {
    const run = this.#run;
    if (run === undefined) throw new Error('The companion was never started');
    if (run.exit !== undefined) return run.exit;
    run.child.kill(signal);
    if (signal === 'SIGTERM') run.child.kill('SIGCONT');
    return run.ended;
  }

  #read(line: string): void {
    if (!line.startsWith('{')) {
      this.spoken.push(line);
      return;
    }
    try {
      this.events.push(JSON.parse(line) as CompanionEvent);
    } catch {
      // Cut off by a SIGKILL.
      this.spoken.push(line);
    }
  }
}

function flag(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [`--${name}`, value];
}

/** Includes everything that it wrote. */
async function untilExit(child: ChildProcess): Promise<CompanionExit> {
  await once(child, 'close');
  return { code: child.exitCode, signal: child.signalCode };
}

async function statusOf(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
}
