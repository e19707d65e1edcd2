import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { expect, test } from 'vitest';

import { DeregisterResponse_Outcome } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { EventReader } from '../../support/event-reader.ts';

/** A page client that asks, and takes nothing. */
async function deafTo(world: CompanionWorld): Promise<Socket> {
  const { port, hostname } = new URL(world.companion.httpUrl);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write('GET /fleet/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
  return socket;
}

test('the companion answers a scrape and a look at the page in the middle of a stop, and they delay no other call', async () => {
  // Without the quick pings of other tests: one in the middle of a shutdown ends a session of grpc-js.
  await using world = await CompanionWorld.start({ companion: { argv: [] } });
  const { companion } = world;
  const agent = world.owner('web-1');
  await agent.attach();
  using reader = await EventReader.open(`${companion.httpUrl}/fleet/events`);
  await reader.find('snapshot');
  const deaf = await deafTo(world);
  // A call that is under way for as long as its caller waits keeps the stop open.
  await world.controlPlane.stop();
  const leaving = agent.deregister({ budgetMs: 4_000 });
  await companion.waitForEvent('departure.requested');

  const stopped = companion.stop();
  await companion.waitForEvent('deregistrar.stopping');
  const [metrics, fleet, live] = await Promise.all(
    ['/metrics', '/fleet', '/livez'].map((path) => fetch(`${companion.httpUrl}${path}`)),
  );
  expect([metrics?.status, fleet?.status, live?.status]).toEqual([200, 200, 200]);
  expect(await metrics?.text()).toMatch(/^kuma_deregistrar_\w+/m);
  expect(await fleet?.json()).toMatchObject({ dataplanes: [{ id: 'default/web-1' }] });
  expect(companion.seen('deregistrar.stopped')).toEqual([]);

  expect(await leaving).toMatchObject({ outcome: DeregisterResponse_Outcome.ACCEPTED, durable: true });
  expect(await stopped).toEqual({ code: 0, signal: null });
  expect(companion.events.at(-1)).toMatchObject({ event: 'deregistrar.stopped' });
  expect(companion.seen('deregistrar.failed')).toEqual([]);
  deaf.destroy();
});
