import { PostgresServer } from '../../support/postgres/postgres-server.ts';

/** A PostgreSQL for this file. @throws Error without one: the tests would prove nothing */
export async function startDatabase(): Promise<PostgresServer> {
  const server = await PostgresServer.start();
  if ('missing' in server) throw new Error(`Several replicas need a PostgreSQL: ${server.missing}`);
  return server;
}
