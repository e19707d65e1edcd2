import { expect, test } from 'vitest';

import { Owner } from '../../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { FakeWitnessZone, type WitnessHost } from '../../../support/fakes/witness-scene.ts';

/** A part of the fleet for which the bound is meant. Time is simulated. */
const FLEET = 300;
const LOST = 90;

test('of a rack that is lost at once, all are out within 20 s and in few batches but those whose acquaintances are lost too, and no other', async () => {
  await using scene = new FakeWitnessZone();
  let batches = 0;
  scene.companion({
    store: (port) => {
      const reserve = port.reserveSidelinings.bind(port);
      port.reserveSidelinings = (choose) => {
        batches += 1;
        return reserve(choose);
      };
      return port;
    },
  });
  const hosts: WitnessHost[] = [];
  for (let at = 0; at < FLEET; at += 1) {
    const service = `service-${at % 30}`;
    hosts.push(await scene.serve(`dp-${at}`, { owner: Owner.AGENT, service }));
  }
  await scene.clock.pass(60_000);
  // Three of the ten of each service.
  const lost = hosts.slice(0, LOST);
  for (const host of lost) scene.lose(host, 'silent');
  await scene.clock.pass(20_000);
  const out = hosts.filter(({ name }) => scene.state(name) === 'NotReady');
  expect(out.filter((host) => !lost.includes(host))).toEqual([]);
  expect(out.length).toBeGreaterThan(LOST * 0.95);
  expect(Math.max(...scene.tookMs)).toBeLessThan(20_000);
  expect(batches).toBeLessThan(5);
});

test('of a rack with more than half of a service, half of it goes and the rest is held by name', async () => {
  await using scene = new FakeWitnessZone();
  const companion = scene.companion();
  const hosts: WitnessHost[] = [];
  for (let at = 0; at < 8; at += 1)
    hosts.push(await scene.serve(`web-${at}`, { owner: Owner.AGENT, service: 'web' }));
  for (let at = 0; at < 12; at += 1)
    hosts.push(await scene.serve(`api-${at}`, { owner: Owner.AGENT, service: 'api' }));
  await scene.meet();
  const lost = hosts.slice(0, 6);
  for (const host of lost) scene.lose(host, 'silent');
  await scene.clock.pass(20_000);
  const out = lost.filter(({ name }) => scene.state(name) === 'NotReady');
  expect(out).toHaveLength(4);
  const held = companion.log.lines.filter(({ event }) => event === 'witness.held');
  const names = new Set(held.map(({ fields }) => fields?.['dataplane']));
  for (const { name } of lost.filter((each) => !out.includes(each)))
    expect(names).toContain(`default/${name}`);
});
