import { PostgresServer } from '../../support/postgres/postgres-server.ts';

/** A PostgreSQL of this file's own. @throws Error where there is none: without it, nothing would be proved here */
export async function startDatabase(): Promise<PostgresServer> {
  const server = await PostgresServer.start();
  if ('missing' in server) throw new Error(`Several replicas need a PostgreSQL: ${server.missing}`);
  return server;
}
