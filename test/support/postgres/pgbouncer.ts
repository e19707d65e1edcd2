import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';

import { Client } from 'pg';

import { freePort } from '../world/free-port.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import type { PostgresServer } from './postgres-server.ts';
import { unprivilegedAccount } from './unprivileged-account.ts';

interface Settings {
  readonly poolMode: 'session' | 'transaction' | 'statement';
  /** As in its configuration file; PgBouncer refuses every startup parameter that it neither knows nor ignores. */
  readonly ignoredStartupParameters?: string;
}

/** A real PgBouncer in front of a test's PostgreSQL server. */
export class PgBouncer implements AsyncDisposable {
  readonly port: number;
  readonly #parts: AsyncDisposableStack;

  private constructor(port: number, parts: AsyncDisposableStack) {
    this.port = port;
    this.#parts = parts;
  }

  static async start(server: PostgresServer, settings: Settings): Promise<PgBouncer> {
    await using parts = new AsyncDisposableStack();
    const dir = parts.use(new TemporaryDir());
    chmodSync(dir.path, 0o755);
    const port = await freePort();
    const users = dir.join('users.txt');
    writeFileSync(users, `"${server.user}" ""\n`);
    const file = dir.join('pgbouncer.ini');
    writeFileSync(
      file,
      `[databases]
* = host=${server.host} port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = ${settings.poolMode}
default_pool_size = ${settings.poolMode === 'session' ? 50 : 4}
ignore_startup_parameters = ${settings.ignoredStartupParameters ?? ''}
`,
    );
    const child = spawn('pgbouncer', ['-q', file], {
      ...unprivilegedAccount(),
      cwd: dir.path,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = once(child, 'exit');
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += String(chunk);
    });
    parts.defer(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const url = server.url('postgres', port);
    await waitUntil(() => connects(url), { what: () => `PgBouncer to answer: ${said}` });
    return new PgBouncer(port, parts.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }
}

async function connects(url: string): Promise<true> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  await client.end();
  return true;
}
