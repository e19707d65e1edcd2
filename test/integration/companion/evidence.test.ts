import { describe, expect, test } from 'vitest';

import { CompanionWorld } from '../../support/companion-world.ts';

/** The control plane's clock has whole seconds. */
const AN_HOUR_AND_MORE_MS = 3_605_000;

/** `test/unit/control-plane/evidence/sweep-and-heal.test.ts` has the decisions of sweep and healing over time. */
describe('a requested sweep', () => {
  test('names over socket and command line what it would delete, and the guard that holds back the rest', async () => {
    await using world = await CompanionWorld.create({ companion: { sweepOfflineAfter: 'report' } });
    world.put('offline');
    world.connect('offline', { endedForMs: AN_HOUR_AND_MORE_MS });
    world.put('by-hand');
    world.connect('by-hand', { direct: false, endedForMs: AN_HOUR_AND_MORE_MS });
    await world.companion.start();
    await world.companion.waitUntilReady();

    const candidates = await world.sweep(true);

    const guards = Object.fromEntries(candidates.map(({ dataplane, guard }) => [dataplane?.name, guard]));
    expect(guards).toEqual({ offline: 'probation', 'by-hand': 'not-lifecycle-managed' });
    const { stdout } = await world.command('sweep', '--dry-run');
    expect(stdout).toMatch(/default\/offline +offline for 1h\S* +held back by probation/);
    expect(stdout).toMatch(/default\/by-hand .* held back by not-lifecycle-managed/);
    expect(world.controlPlane.journal.matching('DELETE', /./)).toEqual([]);
    expect(world.companion.seen('deregistrar.failed')).toEqual([]);
  });
});
