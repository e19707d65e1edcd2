import { expect, test } from 'vitest';

import { CompanionWorld, dataplane } from '../../support/companion-world.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const FLEET = Array.from({ length: 11 }, (_, at) => `web-${at + 1}`);
const VANISHING = ['web-1', 'web-2', 'web-3', 'web-4', 'db-1'];
const RELEASE = 'released by `kuma-deregistrar brake release` or';

/** Through sockets and the command line; `test/unit/control-plane/departures/brake.test.ts` has the decisions over time. */
test('when a third of the fleet vanishes, the companion deletes some, and holds the rest for an operator with the reason', async () => {
  await using world = await CompanionWorld.start({ companion: { argv: [] } });
  const agents = new Map(
    await Promise.all(FLEET.map(async (name) => [name, await world.running(name)] as const)),
  );
  agents.set('db-1', await world.running('db-1', { resource: dataplane('db-1', 'db') }));
  world.run('db-1', dataplane('db-1', 'db'));
  // The brake counts by a list that may be some seconds old.
  await waitUntil(async () => (await world.listed()) === FLEET.length + 1, {
    what: 'a list of all dataplanes',
  });

  for (const name of VANISHING) {
    agents.get(name)?.vanish();
    world.disconnect(name);
  }
  // The last ready one of its service, and one more than 3 of 12.
  await world.waitForRow('db-1', { guard: 'brake' });
  await waitUntil(() => deleted(world).length === 3, { what: 'three deletions', budgetMs: 60_000 });
  const held = VANISHING.find((name) => name !== 'db-1' && world.find(name) !== undefined) ?? '';
  const reason = (await world.waitForRow(held, { guard: 'brake' })).reason;
  expect(reason).toBe(
    `3 of 12 dataplanes of mesh default were deleted in the last 10m, at most 3 (25 %, at least 3); ${RELEASE} in 10m`,
  );
  expect((await world.row('db-1'))?.reason).toMatch(
    /^(it is the last ready dataplane of service db in mesh default; |3 of 12 dataplanes of mesh default )/,
  );

  const { brakes } = await world.status();
  expect(brakes.find(({ service }) => service === '')).toMatchObject({
    mesh: 'default',
    dataplanes: 12,
    deleted: 3,
    allowed: 3,
    heldBack: 2,
    releasedFor: undefined,
  });
  expect(brakes.find(({ service }) => service === 'db')).toMatchObject({
    heldBack: 1,
    reason: `it is the last ready dataplane of service db in mesh default; ${RELEASE} once another one is ready`,
  });
  await waitUntil(async () => (await world.metric('brake_held{mesh="default"}')) === 2, {
    what: 'the metric',
  });
  const shown = await world.command('brake');
  expect(shown.stdout).toMatch(/^ *service db in default +1 held back +it is the last ready/m);

  // A requested departure is never braked, not even of the last one.
  await agents.get('web-11')?.deregister();
  expect(world.find('web-11')).toBeUndefined();

  expect(await world.command('brake', 'release', '--mesh', 'other')).toMatchObject({ code: 0 });
  expect(deleted(world)).toHaveLength(3);
  expect(await world.command('brake', 'release', '--for', '1m')).toEqual({
    code: 0,
    stdout: 'The brake of every mesh is released for 1m.\n',
    stderr: '',
  });
  for (const name of VANISHING) await world.waitUntilGone(name);
  expect(deleted(world).toSorted()).toEqual(VANISHING.toSorted());
  for (const name of FLEET.slice(4, 10)) expect(world.find(name)).toBeDefined();
});

function deleted(world: CompanionWorld): readonly string[] {
  return VANISHING.filter((name) => world.deletions(name) > 0);
}
