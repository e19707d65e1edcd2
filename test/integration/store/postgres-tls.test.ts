import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { openStore } from '../../../control-plane/store/open-store.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { describeError } from '../../../kernel/errors.ts';
import { PostgresServer } from '../../support/postgres/postgres-server.ts';

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url));
const CA = fixture('ca.crt');
const OTHER = fixture('other-ca.crt');

const servers: Record<string, PostgresServer> = {};

async function start(certificate: string): Promise<void> {
  const server = await PostgresServer.start();
  if ('missing' in server) throw new Error(server.missing);
  servers[certificate] = server;
  if (certificate === 'none') return;
  await server.stop();
  server.useCertificate(certificate);
  await server.resume();
}

beforeAll(async () => {
  for (const certificate of ['none', 'server', 'wrong-name']) await start(certificate);
});
afterAll(async () => {
  for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
});

async function opens(certificate: string, query: string): Promise<string> {
  const server = servers[certificate];
  if (server === undefined) throw new Error(`no server with ${certificate}`);
  try {
    const store = await openStore(`${server.url()}?${query}`, { clock: systemClock });
    await store.nowMs();
    const rows = await server.query(
      `select bool_or(ssl) as encrypted from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'kuma-deregistrar'`,
    );
    await store.close();
    return (rows[0] as { readonly encrypted: boolean }).encrypted ? 'encrypted' : 'in clear';
  } catch (error) {
    return describeError(error);
  }
}

describe('sslmode means what it means to libpq', () => {
  test.each([
    ['server', 'sslmode=disable', 'in clear'],
    ['none', 'sslmode=require', 'does not support SSL'],
    ['server', 'sslmode=require', 'encrypted'],
    ['wrong-name', 'sslmode=require', 'encrypted'],
    [
      'server',
      `sslmode=require&sslrootcert=${OTHER}`,
      'self-signed certificate|unable to verify|local issuer',
    ],
    ['server', `sslmode=verify-ca&sslrootcert=${CA}`, 'encrypted'],
    ['wrong-name', `sslmode=verify-ca&sslrootcert=${CA}`, 'encrypted'],
    [
      'server',
      `sslmode=verify-ca&sslrootcert=${OTHER}`,
      'self-signed certificate|unable to verify|local issuer',
    ],
    ['server', `sslmode=verify-full&sslrootcert=${CA}`, 'encrypted'],
    ['wrong-name', `sslmode=verify-full&sslrootcert=${CA}`, `does not match certificate's altnames`],
    ['server', 'sslmode=verify-full', 'self-signed certificate|unable to verify|local issuer'],
    ['server', `sslmode=verify-full&sslrootcert=/nowhere/ca.pem`, '/nowhere/ca.pem'],
    ['server', `sslmode=verify-full&sslrootcert=${fixture('make.sh')}`, 'CA file ".*make.sh"'],
    [
      'server',
      `sslmode=require&sslcert=${fixture('server.crt')}&sslkey=${fixture('expired.key')}`,
      'expired.key',
    ],
  ])('a server with certificate %s, %s: %s', async (certificate, query, expected) => {
    expect(await opens(certificate, query)).toMatch(new RegExp(expected));
  });
});
