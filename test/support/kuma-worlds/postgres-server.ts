import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { freePort } from '../world/free-port.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';

const run = promisify(execFile);

/** One empty database for one control plane. */
export interface Database extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly name: string;
}

/** Where distributions put the server's binaries, which they keep off `PATH`. */
const SERVER_FOLDERS = '/usr/lib/postgresql';
const USER = 'kuma';
/** Of `postmaster.pid`. */
const STATUS_LINE = 7;

/**
 * An empty database: a new one on the server that `KUMA_TEST_POSTGRES_URL` names, else one on a server of its own.
 *
 * @returns why there is none, where neither is to be had
 */
export async function emptyDatabase(): Promise<Database | { readonly missing: string }> {
  const url = process.env['KUMA_TEST_POSTGRES_URL'];
  if (url === 'none') return { missing: 'KUMA_TEST_POSTGRES_URL is "none"' };
  if (url !== undefined && url !== '') return databaseOn(new URL(url));
  const bin = binaryFolder('initdb');
  if (bin === undefined)
    return { missing: `no PostgreSQL server: neither on PATH nor below ${SERVER_FOLDERS}` };
  const account = unprivilegedAccount();
  if (account === undefined)
    return { missing: 'PostgreSQL does not run as root, and there is no other user' };
  return ownServer(bin, account);
}

async function databaseOn(url: URL): Promise<Database | { readonly missing: string }> {
  const bin = binaryFolder('createdb');
  if (bin === undefined) return { missing: 'KUMA_TEST_POSTGRES_URL is set, but there is no createdb' };
  const { hostname: host, username, password } = url;
  const port = Number(url.port === '' ? '5432' : url.port);
  const name = `kuma_world_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  const options = { env: { ...process.env, PGPASSWORD: decodeURIComponent(password) } };
  const server = ['-h', host, '-p', String(port), '-U', decodeURIComponent(username)];
  await run(join(bin, 'createdb'), [...server, name], options);
  return {
    host,
    port,
    name,
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    [Symbol.asyncDispose]: async () => {
      await run(join(bin, 'dropdb'), [...server, '--if-exists', '--force', name], options);
    },
  };
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

async function ownServer(bin: string, account: Account): Promise<Database> {
  await using disposables = new AsyncDisposableStack();
  const dir = disposables.use(new TemporaryDir());
  chmodSync(dir.path, 0o711);
  const data = dir.join('data');
  mkdirSync(data, { mode: 0o700 });
  chownSync(data, account.uid, account.gid);
  const asAccount = { ...account, cwd: data };
  const initdb = ['-D', data, '-U', USER, '--auth=trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
  await run(join(bin, 'initdb'), initdb, asAccount);
  const port = await freePort();
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
  ];
  const argv = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])];
  const server = spawn(join(bin, 'postgres'), argv, { ...asAccount, stdio: 'ignore' });
  disposables.defer(() => shutDown(server));
  await waitUntil(
    () => {
      if (server.exitCode !== null) throw new Error(`it ended with ${server.exitCode}`);
      return readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[STATUS_LINE]?.trim() === 'ready';
    },
    { what: 'PostgreSQL to accept connections', pollMs: 50 },
  );
  const parts = disposables.move();
  return {
    host: '127.0.0.1',
    port,
    user: USER,
    password: USER,
    name: 'postgres',
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** PostgreSQL's fast shutdown: clients are cut off. */
async function shutDown(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = once(server, 'exit');
  server.kill('SIGINT');
  await ended;
}

/** The folder with this program: one of `PATH`, else that of the newest server installed. */
function binaryFolder(program: string): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  let versions: readonly string[] = [];
  try {
    versions = readdirSync(SERVER_FOLDERS).toSorted((a, b) => Number(b) - Number(a));
  } catch {
    // No server of a distribution.
  }
  const installed = versions.map((version) => join(SERVER_FOLDERS, version, 'bin'));
  return [...onPath, ...installed].find((folder) => isExecutable(join(folder, program)));
}

/** Who may run a server: ourselves, or where we are root, somebody who owns nothing that matters. */
function unprivilegedAccount(): Account | undefined {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? uid };
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const [, , user, group] = accounts.find(([name]) => name === wanted) ?? [];
    if (user !== undefined && group !== undefined) return { uid: Number(user), gid: Number(group) };
  }
  return undefined;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
