import { expect, test } from 'vitest';

import { SIDELINED_LABEL } from '../../../../kuma/sidelined.ts';
import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { keyOf } from '../../../support/fakes/companion-scene.ts';
import { emptyTables } from '../../../support/fakes/memory-database.ts';
import { FakeWitnessZone, type WitnessHost } from '../../../support/fakes/witness-scene.ts';

const FOUND_MS = 25_000;

/** One of four hosts, owned by its control plane, with the mark that a companion left on it. */
async function marked(scene: FakeWitnessZone, mark: string): Promise<WitnessHost> {
  scene.companion();
  const hosts: WitnessHost[] = [];
  for (const name of ['web-1', 'web-2', 'web-3', 'web-4'])
    hosts.push(await scene.serve(name, { owner: Owner.CONTROL_PLANE }));
  await scene.meet();
  const [host] = hosts;
  const object = scene.object('web-1');
  if (host === undefined || object === undefined) throw new TypeError('There is an object');
  const inbound = object.networking?.inbound?.map((port) => ({ ...port, state: 'NotReady' }));
  const networking = { ...object.networking, inbound };
  const labels = { [SIDELINED_LABEL]: mark };
  scene.zone.put(keyOf('web-1'), { ...object, networking, labels }, scene.plane);
  return host;
}

test.for(['1-1767225600000-1', '0-0-1', '999999999999999999999-1-1'])(
  'a mark %s that the store does not know is taken off a dataplane that serves',
  async (mark) => {
    await using scene = new FakeWitnessZone();
    await marked(scene, mark);
    scene.database.tables = { ...emptyTables(), rows: scene.database.tables.rows };
    await scene.clock.pass(FOUND_MS);
    expect(scene.object('web-1')?.labels ?? {}).not.toHaveProperty(SIDELINED_LABEL);
    await scene.clock.pass(20_000);
    expect(scene.sidelining('web-1')?.stage).toBe('released');
  },
);

test('a mark on a dataplane whose agent is away stays', async () => {
  await using scene = new FakeWitnessZone();
  const host = await marked(scene, '1-1767225600000-1');
  host.stream?.lose();
  await scene.clock.pass(10_000);
  expect(scene.object('web-1')?.labels).toHaveProperty(SIDELINED_LABEL);
});
