import { afterAll, beforeAll, expect, test } from 'vitest';

import type { PostgresServer } from '../../support/postgres/postgres-server.ts';
import { judgeHistory } from '../../support/replicas/history.ts';
import { seededRandom } from '../../support/replicas/random.ts';
import { ReplicaFleet } from '../../support/replicas/replica-fleet.ts';
import { Storm } from '../../support/replicas/storm.ts';
import { startDatabase } from './database.ts';

/** `STORM_SEEDS=1,2,3` plays others, `STORM_MS` for longer. */
const SEEDS = (process.env['STORM_SEEDS'] ?? '7,4711').split(',').map(Number);
const DURATION_MS = Number(process.env['STORM_MS'] ?? 25_000);
/** One heartbeat, and the time that a busy machine needs to notice. */
const SLACK_MS = 3_000;

let postgres: PostgresServer;

beforeAll(async () => {
  postgres = await startDatabase();
});

afterAll(() => postgres[Symbol.asyncDispose]());

test.concurrent.for(SEEDS)(
  'in a storm of kills, pauses, partitions and returns (seed %i) no live epoch is deleted, and every departure ends',
  { timeout: DURATION_MS + 180_000 },
  async (seed) => {
    await using fleet = await ReplicaFleet.start(postgres, { replicas: 3, graceMs: 5_000 });
    fleet.addBystander();
    const storm = new Storm({ fleet, random: seededRandom(seed), durationMs: DURATION_MS });
    await storm.blow();
    const remaining = await storm.remaining();
    const { living } = storm;
    const judged = judgeHistory(fleet.events, { graceMs: fleet.graceMs, slackMs: SLACK_MS, remaining });
    console.log(
      `seed ${seed}: ${describe(fleet)}, ${judged.unfencedDeletions.length} deleted that had not waited for an epoch`,
    );
    const missing = living.filter((agent) => fleet.holder(agent.name) !== agent.incarnation);
    if (judged.violations.length + missing.length > 0) {
      const rows = await fleet.query(
        'select name, incarnation, epoch, state, replica, guard, reason from dataplanes',
      );
      console.log(storm.plan.join('\n'), JSON.stringify(fleet.events, null, 1), rows, fleet.recentEvents());
    }
    expect(judged.violations).toEqual([]);
    // Each living dataplane has an object, also where an older one's Envoy wrote it last.
    expect(missing.map(({ name }) => name)).toEqual([]);
  },
);

function describe({ events }: ReplicaFleet): string {
  const kinds = Map.groupBy(events, ({ kind }) => kind);
  return [...kinds].map(([kind, of]) => `${of.length} ${kind}`).join(', ');
}
