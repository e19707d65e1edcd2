import type { Clock } from '../../kernel/clock.ts';
import type { Store } from '../ports.ts';
import { kyselyStore } from './kysely-store.ts';
import { STORE_LIMITS, type StoreLimits } from './limits.ts';
import { openPostgres } from './postgres-backend.ts';
import { openSqlite } from './sqlite-backend.ts';

export interface StoreOptions {
  readonly clock: Clock;
  /** Tests use shorter ones. */
  readonly limits?: Partial<StoreLimits>;
}

/**
 * @param location `postgres://…`, or the path of a SQLite file, with or without `sqlite:` in front
 * @throws `STORE_UNAVAILABLE` while a database is out of reach; `STORE_UNUSABLE` if another process has the file, or it
 * is damaged, or of a newer version
 */
export async function openStore(location: string, { clock, limits }: StoreOptions): Promise<Store> {
  const deps = { clock, limits: { ...STORE_LIMITS, ...limits } };
  const backend = /^postgres(ql)?:/i.test(location)
    ? await openPostgres(location, deps)
    : await openSqlite(location.replace(/^sqlite:(\/\/)?/, ''), deps);
  return kyselyStore(backend);
}
