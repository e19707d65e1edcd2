import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { endpointsAt, untilAccepting } from '../support/comparison/surroundings.ts';
import { type KumaZones } from '../support/kuma-worlds/kuma-world.ts';
import { ObjectClient } from '../support/kuma-worlds/object-client.ts';
import { kumasUnderZones, type KumaUnderTest } from '../support/kuma-worlds/worlds.ts';
import { type DataplaneCommand } from '../support/world/dataplane-command.ts';
import { Instance } from '../support/world/fleet.ts';
import { freePort } from '../support/world/free-port.ts';
import { HttpApplication } from '../support/world/http-application.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const SERVICE = 'backend';
/** What this machine adds to the sum of Kuma's intervals. */
const MARGIN_MS = 2_000;
const KDS_FLUSH_MS = 5_000;

/** Store cache and refresh, of the zone's ingress alone. */
const OWN_ZONE_MS = 2_000;
/** Store cache and tick of a zone's KDS, of the global control plane's, and of the other zone. */
const INGRESS_MS = 6_000;
/** Besides, store cache and interval of the ingress's list of services. */
const LAST_OF_SERVICE_MS = 8_000;

describe.for(kumasUnderZones)('what one zone of $label learns of another', (kuma) => {
  let zones: KumaZones;
  const opened = new AsyncDisposableStack();
  let application: HttpApplication;
  let client: Instance;

  beforeAll(async () => {
    zones = opened.use(await kuma.createZones({ protocols: { [SERVICE]: 'http' } }));
    application = opened.use(await HttpApplication.start({ name: 'in-zone-2' }));
    client = await begin(
      zones.one.dataplane({
        name: 'client',
        service: 'client',
        servicePort: application.port,
        outbounds: [{ service: SERVICE, port: await freePort() }],
      }),
    );
  });

  afterAll(async () => {
    await opened.disposeAsync();
  });

  async function begin(command: Promise<DataplaneCommand>): Promise<Instance> {
    const instance = opened.use(new Instance('instance', await command));
    instance.start('bare');
    await untilAccepting(instance.command.inboundPort, instance);
    return instance;
  }

  async function ingress(name: string): Promise<Instance> {
    const port = await freePort();
    return begin(zones.two.zoneProxy({ name, kind: 'ingress', services: [SERVICE], port }));
  }

  test('the configuration says whether a zone belongs to a global control plane', async () => {
    const { body } = await new ObjectClient(zones.two.restUrl).call('/config');
    expect(body).toMatchObject({
      multizone: {
        zone: {
          name: 'z2',
          globalAddress: expect.stringMatching(/^grpcs:\/\//),
          ingressUpdateInterval: '1s',
          kds: { refreshInterval: '1s' },
        },
        global: { kds: { refreshInterval: '1s' } },
      },
      experimental: { kdsEventBasedWatchdog: { enabled: false } },
    });
  });

  test('zones learn of an ingress and of the last dataplane of a service, and forget them, within the sum of the intervals', async () => {
    const objects = new ObjectClient(zones.two.restUrl);
    const name = 'only';
    await begin(zones.two.dataplane({ name, service: SERVICE, servicePort: application.port }));
    const staying = await ingress('staying');
    const leaving = await ingress('leaving');
    await untilListed(client, SERVICE, [staying.command.endpoint, leaving.command.endpoint]);

    const ingressGoneAtMs = performance.now();
    expect((await objects.call('/zoneingresses/leaving', { method: 'DELETE' })).status).toBe(200);
    const ingressMs = (await untilListed(client, SERVICE, [staying.command.endpoint])) - ingressGoneAtMs;
    tell(kuma, 'another zone knows that an ingress is gone', ingressMs);
    expect(ingressMs).toBeLessThan(INGRESS_MS + MARGIN_MS);

    const goneAtMs = performance.now();
    expect((await objects.delete(name)).status).toBe(200);
    const own = waitUntil(
      async () => (await allEndpoints(staying)).length === 0 && performance.now() - goneAtMs,
      { what: 'its own ingress to drop it', budgetMs: 30_000, pollMs: 50 },
    );
    const other = untilListed(client, SERVICE, []).then((atMs) => atMs - goneAtMs);
    const [ownMs, otherMs] = await Promise.all([own, other]);
    tell(kuma, 'its ingress knows that the last one of a service is gone', ownMs);
    tell(kuma, 'another zone knows that the last one of a service is gone', otherMs);
    expect(ownMs).toBeLessThan(OWN_ZONE_MS + MARGIN_MS);
    expect(otherMs).toBeLessThan(LAST_OF_SERVICE_MS + MARGIN_MS);
    expect(ownMs).toBeLessThan(otherMs);
  });
});

describe.for(kumasUnderZones)('event-based KDS of $label', (kuma) => {
  test('the configuration names it, with its flush interval', async () => {
    await using zones = await kuma.createZones({ kdsFlushMs: KDS_FLUSH_MS });
    const { body } = await new ObjectClient(zones.two.restUrl).call('/config');
    expect(body).toMatchObject({
      experimental: { kdsEventBasedWatchdog: { enabled: true, flushInterval: '5s' } },
    });
  });
});

function tell({ label }: KumaUnderTest, what: string, ms: number): void {
  console.info(`${label}: ${what}: ${ms.toFixed(0)} ms`);
}

/** @returns `performance.now()` of the look that found it so */
function untilListed(at: Instance, service: string, endpoints: readonly string[]): Promise<number> {
  const wanted = String(endpoints.toSorted());
  return waitUntil(
    async () => String((await endpointsAt(at, service)).toSorted()) === wanted && performance.now(),
    { what: `${service} at ${wanted || 'no endpoint'}`, budgetMs: 60_000, pollMs: 50 },
  );
}

/** The endpoints of all services that a zone proxy passes on: Kuma names their clusters after the mesh too. */
async function allEndpoints(proxy: Instance): Promise<readonly string[]> {
  const names = [SERVICE, `default:${SERVICE}`];
  return (await Promise.all(names.map((name) => endpointsAt(proxy, name)))).flat();
}
