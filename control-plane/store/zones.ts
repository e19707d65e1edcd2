import { joined, mayBeSameZone } from '../evidence/zone-binding.pure.ts';
import type { InstanceRecord, ZoneIdentity } from '../records.pure.ts';
import type { Session } from './session.ts';

const ONLY = 1;

/** The first caller binds the store. Another one at the same time waits for that transaction, and finds its row. */
export async function bindZone({ db }: Session, zone: ZoneIdentity): Promise<ZoneIdentity> {
  await db
    .insertInto('zones')
    .values({ id: ONLY, name: zone.name ?? null, cluster_id: zone.clusterId ?? null })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  const row = await db.selectFrom('zones').selectAll().where('id', '=', ONLY).executeTakeFirstOrThrow();
  const bound = { name: row.name ?? undefined, clusterId: row.cluster_id ?? undefined };
  if (!mayBeSameZone(bound, zone)) return bound;
  const known = joined(bound, zone);
  await db
    .updateTable('zones')
    .set({ name: known.name ?? null, cluster_id: known.clusterId ?? null })
    .where('id', '=', ONLY)
    .execute();
  return known;
}

export async function instances({ db }: Pick<Session, 'db'>): Promise<readonly InstanceRecord[]> {
  const rows = await db.selectFrom('instances').selectAll().orderBy('instance_id').execute();
  return rows.map(({ instance_id: id, url, standing }) => ({ id, url: url ?? undefined, standing }));
}

export async function noteInstances(
  { db, nowMs }: Session,
  noted: readonly InstanceRecord[],
  beforeMs: number,
): Promise<void> {
  for (const { id, url = null, standing } of noted) {
    const columns = { url, standing, seen_at: nowMs };
    await db
      .insertInto('instances')
      .values({ instance_id: id, ...columns })
      .onConflict((conflict) => conflict.column('instance_id').doUpdateSet(columns))
      .execute();
  }
  await db.deleteFrom('instances').where('seen_at', '<', Math.floor(beforeMs)).execute();
}
