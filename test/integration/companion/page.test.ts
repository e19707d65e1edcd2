import { chmodSync, writeFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import type { FleetChange } from '../../../control-plane/page/fleet-change.pure.ts';
import type { FleetDeparture, FleetSnapshot } from '../../../control-plane/page/fleet-view.pure.ts';
import { CompanionWorld } from '../../support/companion-world.ts';
import { EventReader } from '../../support/event-reader.ts';
import { freePort } from '../../support/world/free-port.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const TOKEN = 'a-token-of-more-than-16';
const STEPS = [
  { step: 'deregister', startMs: 0, durationMs: 40, outcome: 'gone' },
  { step: 'settle', startMs: 40, durationMs: 1_000, outcome: 'waited' },
];

function fleetOf(world: CompanionWorld): Promise<FleetSnapshot> {
  return fetch(`${world.companion.httpUrl}/fleet`).then((answer) => answer.json() as Promise<FleetSnapshot>);
}

function follow(world: CompanionWorld): Promise<EventReader> {
  return EventReader.open(`${world.companion.httpUrl}/fleet/events`);
}

/** The bars of a departure once it is as wanted. */
async function departed(
  reader: EventReader,
  id: string,
  isWanted: (each: FleetDeparture) => boolean,
): Promise<FleetDeparture> {
  const isIt = (each: FleetDeparture): boolean => each.id === id && isWanted(each);
  const { departures } = await reader.find<FleetChange>(
    'change',
    (change: FleetChange) => change.departures?.some(isIt) ?? false,
  );
  const found = departures?.find(isIt);
  if (found === undefined) throw new Error('Not found again');
  return found;
}

describe('the page of the companion', () => {
  test('is served beside the probes, by the built program', async () => {
    await using world = await CompanionWorld.start();
    const page = await fetch(`${world.companion.httpUrl}/`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(await page.text()).toContain('<title>Fleet</title>');
    const unknown = (await (await fetch(`${world.companion.httpUrl}/x`)).json()) as { paths: string[] };
    expect(unknown.paths).toEqual(['/livez', '/readyz', '/metrics', '/', '/fleet', '/fleet/events']);
  });

  test('shows the control plane, the store and attached dataplanes', async () => {
    await using world = await CompanionWorld.start();
    await world.running('web-1');
    const { head, dataplanes } = await waitUntil(
      async () => {
        const fleet = await fleetOf(world);
        return fleet.dataplanes[0]?.phase === 'running' ? fleet : undefined;
      },
      { what: 'web-1 to be shown', pollMs: 100 },
    );
    expect(dataplanes).toMatchObject([{ id: 'default/web-1', state: 'attached', guard: '' }]);
    expect(head.store).toEqual({ kind: 'sqlite', problem: '' });
    expect(head.controlPlanes).toMatchObject([
      { url: expect.stringContaining(new URL(world.controlPlane.httpUrl).host), mode: 'zone', problem: '' },
    ]);
  });

  test('follows a stop to its report, and draws it step by step', async () => {
    await using world = await CompanionWorld.start();
    using reader = await follow(world);
    const agent = world.owner('web-1');
    world.run('web-1');
    await agent.attach();
    await agent.register(true);
    await reader.find('change', ({ dataplanes = [] }: FleetChange) => dataplanes.length === 1);
    await agent.deregister();
    agent.report({ schema: 1, totalMs: 1_040, steps: STEPS, dataplane: '<b>' });
    const { steps, totalMs, cause, outcome } = await departed(
      reader,
      'default/web-1',
      (each) => each.steps.length === 2,
    );
    expect({ steps, totalMs, cause, outcome }).toEqual({
      steps: STEPS,
      totalMs: 1_040,
      cause: 'requested',
      outcome: 'deleted',
    });
    await reader.find('change', ({ gone = [] }: FleetChange) => gone.includes('default/web-1'));
  });

  test('shows lost dataplanes, and draws the fallback by its silence', async () => {
    await using world = await CompanionWorld.start();
    using reader = await follow(world);
    const agent = world.owner('web-1');
    world.run('web-1');
    // The last one of a service would stay.
    world.run('web-2');
    await agent.attach();
    agent.vanish();
    world.disconnect('web-1');
    await reader.find('change', ({ dataplanes = [] }: FleetChange) =>
      dataplanes.some(({ state }) => state === 'lost'),
    );
    const { steps, totalMs } = await departed(reader, 'default/web-1', ({ cause }) => cause === 'fallback');
    expect(steps).toEqual([{ step: 'silent', startMs: 0, durationMs: totalMs, outcome: 'deleted' }]);
    expect(totalMs).toBeGreaterThanOrEqual(1_000);
  });

  test('names the guard that holds a departure back, and its reason', async () => {
    await using world = await CompanionWorld.start({
      companion: { argv: ['--brake-share', '5%', '--brake-min', '1'] },
    });
    using reader = await follow(world);
    for (const name of ['web-1', 'web-2', 'web-3']) {
      world.run(name);
      const agent = world.owner(name);
      await agent.attach();
      agent.vanish();
      world.disconnect(name);
    }
    const { dataplanes = [] } = await reader.find<FleetChange>(
      'change',
      (change: FleetChange) => change.dataplanes?.some(({ guard }) => guard === 'brake') ?? false,
    );
    expect(dataplanes.find(({ guard }) => guard === 'brake')).toMatchObject({
      state: 'lost',
      reason: expect.stringMatching(/1 of 3 dataplanes of mesh default were deleted|last ready dataplane/),
    });
    const { head } = await reader.find<FleetChange>(
      'change',
      (change: FleetChange) => (change.head?.brakes.length ?? 0) > 0,
    );
    expect(head?.brakes[0]).toMatchObject({ mesh: 'default', reason: expect.stringContaining('deleted') });
  });

  test('says that no control plane answers', async () => {
    await using world = await CompanionWorld.start();
    using reader = await follow(world);
    await reader.find('snapshot');
    await world.controlPlane[Symbol.asyncDispose]();
    const { head } = await reader.find<FleetChange>(
      'change',
      (change: FleetChange) => (change.head?.controlPlanes[0]?.problem ?? '') !== '',
    );
    expect(head?.controlPlanes[0]?.problem).not.toBe('');
  });

  test('does not delay a stop of the companion', async () => {
    await using world = await CompanionWorld.start();
    using reader = await follow(world);
    await reader.find('snapshot');
    expect(await world.companion.stop()).toEqual({ code: 0, signal: null });
    await waitUntil(() => reader.ended, { what: 'the stream to end' });
  });
});

describe('the page beyond loopback', () => {
  test('is not served without a token', async () => {
    await using world = await CompanionWorld.create({ companion: { http: '0.0.0.0:5691' } });
    await world.companion.start();
    expect(await world.companion.exited()).toEqual({ code: 78, signal: null });
    expect(world.companion.spoken.join()).toContain('any caller could see the fleet at 0.0.0.0:5691');
  });

  test('is not served where the token file is missing', async () => {
    await using world = await CompanionWorld.create({ companion: { argv: ['--http-token-file', '/none'] } });
    await world.companion.start();
    expect(await world.companion.exited()).toEqual({ code: 78, signal: null });
    expect(world.companion.spoken.join()).toContain('ENOENT');
  });

  test('requires the token for metrics and page, but not for probes; a new token applies at once', async () => {
    await using place = await CompanionWorld.create();
    const file = place.dir.join('token');
    writeFileSync(file, `${TOKEN}\n`);
    chmodSync(file, 0o600);
    const port = await freePort();
    await using world = await CompanionWorld.create({
      companion: { http: `0.0.0.0:${port}`, argv: ['--http-token-file', file] },
    });
    await world.companion.start();
    const ask = async (path: string, token = ''): Promise<number | undefined> => {
      const headers = token === '' ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers }).catch(() => undefined);
      await response?.body?.cancel();
      return response?.status;
    };
    await waitUntil(async () => (await ask('/readyz')) === 200, { what: 'it to be ready', pollMs: 50 });
    const paths = ['/livez', '/readyz', '/metrics', '/', '/fleet', '/fleet/events'];
    const asked = async (token?: string): Promise<readonly (number | undefined)[]> =>
      Promise.all(paths.map((path) => ask(path, token)));
    expect(await asked()).toEqual([200, 200, 401, 401, 401, 401]);
    expect(await asked(TOKEN)).toEqual([200, 200, 200, 200, 200, 200]);
    writeFileSync(file, 'another-token-than-before\n');
    expect(await ask('/fleet', 'another-token-than-before')).toBe(200);
    expect(await asked(TOKEN)).toEqual([200, 200, 401, 401, 401, 401]);
  });
});
