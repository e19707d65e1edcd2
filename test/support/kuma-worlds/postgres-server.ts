import { Client } from 'pg';

import { PostgresServer } from '../postgres/postgres-server.ts';

/** One empty database for one control plane. */
export interface Database extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly name: string;
}

/**
 * An empty database: a new one on the server that `KUMA_TEST_POSTGRES_URL` names, else one on a server of its own.
 *
 * @returns why there is none, if there is no server
 */
export async function emptyDatabase(): Promise<Database | { readonly missing: string }> {
  const url = process.env['KUMA_TEST_POSTGRES_URL'];
  if (url === 'none') return { missing: 'KUMA_TEST_POSTGRES_URL is "none"' };
  if (url !== undefined && url !== '') return databaseOn(new URL(url));
  const server = await PostgresServer.start();
  if ('missing' in server) return server;
  const { host, port, user } = server;
  const dispose = (): Promise<void> => server[Symbol.asyncDispose]();
  return { host, port, user, password: user, name: 'postgres', [Symbol.asyncDispose]: dispose };
}

async function databaseOn(url: URL): Promise<Database> {
  const { hostname: host, username, password } = url;
  const name = `kuma_world_${process.pid}_${Math.random().toString(36).slice(2, 8)}`;
  await administer(url, `create database ${name}`);
  return {
    host,
    port: Number(url.port === '' ? '5432' : url.port),
    name,
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    [Symbol.asyncDispose]: () => administer(url, `drop database if exists ${name} with (force)`),
  };
}

async function administer(url: URL, statement: string): Promise<void> {
  const client = new Client({ connectionString: url.href });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
