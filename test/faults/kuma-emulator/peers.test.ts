import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ClientEnvoy } from '../../support/world/client-envoy.ts';
import { EchoApplication } from '../../support/world/echo-application.ts';
import { EndpointWatcher } from '../../support/world/endpoint-watcher.ts';
import { HttpApplication } from '../../support/world/http-application.ts';
import { LoadGenerator } from '../../support/world/load-generator.ts';
import { waitUntilServing } from '../../support/world/running-dataplane.ts';
import { QuickWorld } from '../../support/kuma/quick-world.ts';

let world: QuickWorld;
let client: ClientEnvoy;

async function start(options: Parameters<typeof QuickWorld.start>[0] = {}): Promise<void> {
  world = await QuickWorld.start({ healthFeedback: false, ...options });
  client = await ClientEnvoy.start({ service: 'backend', endpointsDir: world.dir.join('eds') });
}

beforeEach(async () => {
  await start();
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

describe('a load generator', () => {
  test.for(['http1', 'http2'] as const)(
    '%s: sees which instance answers, keeps its rate and loses nothing by itself',
    async (protocol) => {
      await using other = await HttpApplication.start({ name: 'other' });
      const kind = protocol === 'http1' ? 'http' : 'http2';
      await using watcher = new EndpointWatcher(client, protocol);
      const dataplanes = [
        await world.servingDataplane('b1', { protocol: kind }),
        await world.servingDataplane('b2', { protocol: kind, servicePort: other.port }),
      ];
      for (const { endpoint } of dataplanes) {
        await watcher.waitFor('entered', endpoint);
      }
      const startedAtMs = performance.now();
      await using load = new LoadGenerator({
        target: { protocol, port: client.ports[protocol] },
        ratePerSecond: 100,
      });
      await load.waitForSuccesses(50);
      const tookMs = performance.now() - startedAtMs;
      const summary = await load.stop();
      expect(summary.byFailure).toEqual({});
      expect(Object.keys(summary.byInstance).toSorted()).toEqual(['other', 'web']);
      expect(tookMs).toBeGreaterThan(400);
    },
  );

  test('tcp: sees which instance answers', async () => {
    await using echo = await EchoApplication.start({ name: 'echo' });
    await using watcher = new EndpointWatcher(client, 'tcp');
    const dataplane = await world.dataplane('b1', { protocol: 'tcp', servicePort: echo.port });
    await waitUntilServing(dataplane.inboundPort, 'tcp');
    await watcher.waitFor('entered', dataplane.endpoint);
    await using load = new LoadGenerator({
      target: { protocol: 'tcp', port: client.ports.tcp },
      ratePerSecond: 100,
    });
    await load.waitForSuccesses(20);
    expect((await load.stop()).byInstance).toEqual({ echo: expect.any(Number) as number });
  });

  test('counts the failures while a killed dataplane is still in the list, and none before', async () => {
    await client[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
    await start({ deregistrationDelayMs: 1_000 });
    await using other = await HttpApplication.start({ name: 'other' });
    await using watcher = new EndpointWatcher(client);
    const first = await world.servingDataplane('b1');
    const second = await world.servingDataplane('b2', { servicePort: other.port });
    await watcher.waitFor('entered', first.endpoint);
    await watcher.waitFor('entered', second.endpoint);
    const target = { protocol: 'http1', port: client.ports.http1 } as const;
    await using load = new LoadGenerator({ target, ratePerSecond: 100 });
    await load.waitForSuccesses(20);
    expect(load.summary().failed).toBe(0);
    const killedAtMs = performance.now();
    first.process.signal('SIGKILL');
    const left = await watcher.waitFor('left', first.endpoint);
    await load.waitForSuccesses(20);
    await load.stop();
    const meantime = load.summary(killedAtMs, left.atMs);
    // Half of the requests went to the endpoint that was gone.
    expect(meantime.failed).toBeGreaterThan(meantime.sent / 4);
    expect(load.summary(left.atMs + 50).failed).toBe(0);
  });
});
