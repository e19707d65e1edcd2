import { describe, expect, test } from 'vitest';

import { type NodeInfo } from '../../support/kuma/bootstrap-protocol.ts';
import { ControlPlane } from '../../support/kuma/control-plane.ts';
import { networkingOf, withReadiness } from '../../support/kuma/dataplane-model.ts';
import { ended, Insights } from '../../support/kuma/insights.ts';
import { RECORDED_VERSIONS } from '../../support/kuma/recorded.ts';
import { ResourceManager } from '../../support/kuma/resource-manager.ts';
import { recorded, type RecordedAnswer } from '../../support/kuma/settings.ts';
import { type Fields, type StoredSubscription } from '../../support/kuma/store.ts';

/** What differs from one run to the next, by field name. */
const VOLATILE = new Set([
  'creationTime',
  'modificationTime',
  'connectTime',
  'disconnectTime',
  'lastUpdateTime',
  'id',
  'controlPlaneInstanceId',
  'clusterId',
  'instanceId',
  'hostname',
]);

function stable(value: unknown, field = ''): unknown {
  if (Array.isArray(value))
    return field === 'features'
      ? value.map(String).toSorted((a, b) => (a < b ? -1 : 1))
      : value.map((item) => stable(item));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, stable(inner, key)]));
  }
  if (VOLATILE.has(field)) return typeof value;
  if (field === 'next' && typeof value === 'string') return value.replace(/:\d+\//, ':PORT/');
  return value;
}

interface RecordedOverviews {
  readonly items: readonly {
    readonly name: string;
    readonly dataplane: Fields;
    readonly labels: Readonly<Record<string, string>>;
    readonly dataplaneInsight: { readonly metadata?: Readonly<Record<string, string>> };
  }[];
}

/** The world of the recordings: dataplanes b1 and b2, registered and connected. */
class RecordedWorld {
  readonly controlPlane: ControlPlane;
  readonly #manager: ResourceManager;
  readonly #insights: Insights;
  readonly #subscriptions = new Map<string, StoredSubscription>();

  constructor(controlPlane: ControlPlane) {
    this.controlPlane = controlPlane;
    this.#manager = new ResourceManager(controlPlane.store, controlPlane.settings);
    this.#insights = new Insights(controlPlane.store, controlPlane.settings, controlPlane.instanceId ?? '');
    const overviews = recorded(controlPlane.settings.version, 'overview-list').body as RecordedOverviews;
    for (const item of overviews.items) {
      const labels = Object.fromEntries(
        Object.entries(item.labels).filter(([label]) => label === 'app' || label === 'kuma.io/workload'),
      );
      this.#manager.upsert(keyOf(item.name), { spec: withoutZoneTag(item.dataplane), labels });
      const node = nodeOf(item.name, item.dataplaneInsight.metadata);
      const subscription = this.#insights.acknowledged(this.#insights.subscription(node));
      this.#subscriptions.set(item.name, subscription);
      this.#insights.write(node, subscription);
    }
  }

  drain(name: string): void {
    const object = this.controlPlane.store.find(keyOf(name));
    if (object === undefined) throw new Error(`No dataplane ${name}`);
    const inbounds = networkingOf(object.spec).inbound ?? [];
    this.#manager.updateInbounds(
      object,
      inbounds.map((inbound) => withReadiness(inbound, false)),
    );
  }

  disconnect(name: string): void {
    const metadata = this.controlPlane.store.findInsight(keyOf(name))?.metadata;
    const subscription = this.#subscriptions.get(name);
    if (subscription === undefined) throw new Error(`No subscription of ${name}`);
    this.#insights.write(
      nodeOf(name, metadata as Readonly<Record<string, string>> | undefined),
      ended(subscription),
    );
  }

  async replay(name: string): Promise<{ readonly answer: unknown; readonly wanted: unknown }> {
    const exchange = recorded(this.controlPlane.settings.version, name);
    return { answer: await send(this.controlPlane, exchange), wanted: comparable(exchange) };
  }
}

function keyOf(name: string): { type: 'Dataplane'; mesh: string; name: string } {
  return { type: 'Dataplane', mesh: 'default', name };
}

function withoutZoneTag(spec: Fields): Fields {
  return JSON.parse(
    JSON.stringify(spec, (key, value: unknown) => (key === 'kuma.io/zone' ? undefined : value)),
  ) as Fields;
}

function nodeOf(name: string, metadata: Readonly<Record<string, string>> | undefined): NodeInfo {
  return {
    mesh: 'default',
    name,
    proxyType: 'dataplane',
    resource: metadata?.['dataplane.resource'],
    workdir: metadata?.['workdir'] ?? '',
    readinessPort: Number(metadata?.['dataplane.readinessReporter.port'] ?? '0'),
    envoyBuild: 'bad8280de85c25b147a90c1d9b8a8c67a13e7134/1.36.4/Clean/RELEASE/BoringSSL',
    admin: { socket: metadata?.['dataplane.admin.socketPath'] ?? '' },
  };
}

async function send(controlPlane: ControlPlane, { request }: RecordedAnswer): Promise<unknown> {
  const response = await fetch(`${controlPlane.httpUrl}${request.path}`, {
    method: request.method,
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    ...(request.authorization === undefined ? {} : { headers: { authorization: 'Bearer invalid' } }),
  });
  const text = await response.text();
  const contentType = response.headers.get('content-type') ?? '';
  const body: unknown = contentType.startsWith('application/json') && text !== '' ? JSON.parse(text) : text;
  return { status: response.status, contentType, body: stable(body) };
}

function comparable({ status, contentType, body }: RecordedAnswer): unknown {
  return { status, contentType, body: stable(body) };
}

describe.for(RECORDED_VERSIONS)('REST answers of %s', (version) => {
  test.for([
    'index',
    'config',
    'who-am-i',
    'dataplane',
    'dataplane-missing',
    'dataplanes-list',
    'overview-list',
    'overview-missing',
    'overview-online',
    'page-size-too-large',
    'put-invalid',
    'delete-missing',
    'delete-missing-mesh',
    'revocations-global',
    'revocations-mesh',
    'zoneingresses',
  ])('an administrator gets what a real control plane answered: %s', async (name) => {
    await using controlPlane = await ControlPlane.start({ version, localhostIsAdmin: true });
    const { answer, wanted } = await new RecordedWorld(controlPlane).replay(name);
    expect(answer).toEqual(wanted);
  });

  test.for([
    'anonymous-who-am-i',
    'anonymous-secret',
    'anonymous-dataplane-token',
    'anonymous-delete',
    'invalid-bearer',
    'invalid-bearer-delete',
  ])('a caller without a user token gets what a real control plane answered: %s', async (name) => {
    await using controlPlane = await ControlPlane.start({ version });
    const { answer, wanted } = await new RecordedWorld(controlPlane).replay(name);
    expect(answer).toEqual(wanted);
  });

  test('a dataplane’s states read as recorded: online, draining, offline, deleted, put back', async () => {
    await using controlPlane = await ControlPlane.start({ version, localhostIsAdmin: true });
    const world = new RecordedWorld(controlPlane);
    const agrees = async (name: string): Promise<void> => {
      const { answer, wanted } = await world.replay(name);
      expect(answer, name).toEqual(wanted);
    };
    await agrees('overview-online');
    world.drain('b2');
    await agrees('overview-draining');
    world.disconnect('b2');
    await agrees('overview-offline');
    await agrees('delete');
    await agrees('overview-after-delete');
    await agrees('delete-again');
    await agrees('put-undo');
    await agrees('overview-after-undo');
  });
});
