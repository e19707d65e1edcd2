import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { KumaWorld } from '../support/kuma-worlds/kuma-world.ts';
import { WorldHosts } from '../support/kuma-worlds/world-hosts.ts';
import { kumasUnderZones } from '../support/kuma-worlds/worlds.ts';
import { needNetworkNamespaces } from '../support/namespaces.ts';
import { losePower } from '../support/world/power-loss.ts';

const SIZE = 3;
/** The bounds of the promise, and a machine on which a real control plane takes a core. */
const KILLED_MS = 5_000;
const SILENT_MS = 15_000;
const BACK_MS = 10_000;
/** Kuma alone takes 10.8 s for a killed host. */
const BARE_MS = 40_000;

describe.for(kumasUnderZones)(
  'a host that is lost while its control plane lives, on $label',
  { concurrent: false },
  ({ label, create }) => {
    let world: KumaWorld;

    beforeAll(async () => {
      world = await create({ defaultTiming: true });
    });

    afterAll(async () => {
      await world[Symbol.asyncDispose]();
    });

    function tell(what: string, ms: number): void {
      console.info(`${label}: ${what}: ${(ms / 1_000).toFixed(2)} s`);
    }

    /** @returns how long the first one stays in the peer's list, and how many requests fail */
    async function killed(
      how: 'bare' | 'companion',
    ): Promise<{ readonly outMs: number; readonly failed: number; readonly said: string }> {
      await using hosts = await WorldHosts.start(world, { service: `killed-${how}`, size: SIZE, with: how });
      const [lost, ...others] = hosts.instances;
      if (lost === undefined) throw new Error('There is no instance');
      const load = hosts.load();
      await load.waitForSuccesses(100);
      const killedAtMs = performance.now();
      await losePower(lost.process);
      const outMs = (await hosts.untilListed(others, BARE_MS)) - killedAtMs;
      await load.waitForSuccesses(100);
      const { failed } = await load.stop();
      tell(`killed, ${how}: out of the list`, outMs);
      console.info(`${label}: killed, ${how}: ${failed} failed`);
      return { outMs, failed, said: hosts.said };
    }

    test('is killed: out within seconds, and at most a quarter as many requests fail as with Kuma alone', async (context) => {
      needNetworkNamespaces(context);
      const bare = await killed('bare');
      const ours = await killed('companion');
      expect(ours.outMs, ours.said).toBeLessThan(KILLED_MS);
      expect(ours.failed).toBeLessThan(bare.failed / 4);
    });

    test('falls silent: out within 15 s, and back when its packets get through again', async (context) => {
      needNetworkNamespaces(context);
      const given = { service: 'silent', size: SIZE, with: 'companion' } as const;
      await using hosts = await WorldHosts.start(world, given);
      const [lost, ...others] = hosts.instances;
      if (lost === undefined) throw new Error('There is no instance');
      const silentAtMs = performance.now();
      lost.host.fallSilent();
      const outMs = (await hosts.untilListed(others, BARE_MS)) - silentAtMs;
      tell('silent: out of the list', outMs);
      const backAtMs = performance.now();
      lost.host.comeBack();
      const backMs = (await hosts.untilListed(hosts.instances, BARE_MS)) - backAtMs;
      tell('silent and back: in the list again', backMs);
      expect(outMs).toBeLessThan(SILENT_MS);
      expect(backMs).toBeLessThan(BACK_MS);
    });
  },
);
