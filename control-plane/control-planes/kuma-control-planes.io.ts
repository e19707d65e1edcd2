import type { Clock } from '../../kernel/clock.ts';
import { endpointName } from '../../kernel/endpoint-name.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { requireAnswer } from '../../kuma/answers.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { readFacts } from '../../kuma/control-plane.ts';
import { DataplaneResource, describeKey, resourcePath, type DataplaneKey } from '../../kuma/dataplane.ts';
import { readOverview } from '../../kuma/overview.ts';
import { lookForSibling } from '../../kuma/services.io.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';
import type { ControlPlanes, OverviewLook, OverviewPage } from '../ports.ts';
import type { InstanceLook } from './instance-look.pure.ts';
import { Failover, type FailoverCall } from './failover.io.ts';
import { readOverviewPages } from './overview-pages.io.ts';

export interface KumaControlPlanesOptions {
  readonly clock: Clock;
  /** The REST API of each control plane of the zone. */
  readonly urls: readonly [URL, ...URL[]];
  readonly tls: EndpointTls;
  /** An administrator's token; read before each request, so that it may be rotated. */
  readonly userToken: () => string | undefined;
}

interface ControlPlaneTarget {
  /** Without credentials. */
  readonly url: string;
  readonly client: RestClient;
}

/** Time limit for requests that a control plane answers in milliseconds. */
const OBJECT_PATIENCE_MS = 2_000;
/** Keeps connections, so that a storm of departures does not open one each. */
const IDLE_CONNECTIONS = 64;
/** A thousand overviews are a megabyte or two. */
const LIST_PATIENCE_MS = 15_000;

/** The zone's control planes over Kuma's REST API. They share one database, so each can answer for all objects. */
export function kumaControlPlanes(options: KumaControlPlanesOptions): ControlPlanes {
  const [first, ...others] = options.urls;
  const targets = [target(first, options), ...others.map((url) => target(url, options))] as const;
  const failover = new Failover<ControlPlaneTarget>({ clock: options.clock, targets: [...targets] });
  return {
    look: (signal) => {
      options.tls.refresh?.();
      return Promise.all(targets.map((each) => look(each, signal)));
    },
    overview: (key, signal) =>
      failover.first(about('look at', key, signal), ({ client }, bounded) => overview(client, key, bounded)),
    overviews: (signal) =>
      failover.first<OverviewPage>(
        { action: 'list the dataplanes', patienceMs: LIST_PATIENCE_MS, signal },
        ({ client }, bounded) => readOverviewPages(client, bounded),
      ),
    read: (key, signal) =>
      failover.first(about('read', key, signal), ({ client }, bounded) => read(client, key, bounded)),
    hasSibling: (key, service, signal) =>
      failover.first(about('look for siblings of', key, signal), ({ client }, bounded) =>
        lookForSibling(client, { key, service }, bounded),
      ),
    put: (key, resource, { beforeSend, signal }) =>
      failover.first(about('put', key, signal), ({ client }, bounded) =>
        put(client, { key, resource }, { beforeSend, signal: bounded }),
      ),
    delete: (key, beforeSend, signal) =>
      failover.first(about('delete', key, signal), ({ client }, bounded) =>
        remove(client, { key, beforeSend }, bounded),
      ),
    close: () => {
      for (const { client } of targets) client.close();
    },
  };
}

function about(verb: string, key: DataplaneKey, signal: AbortSignal): FailoverCall {
  return { action: `${verb} dataplane ${describeKey(key)}`, patienceMs: OBJECT_PATIENCE_MS, signal };
}

function target(url: URL, { tls, userToken }: KumaControlPlanesOptions): ControlPlaneTarget {
  return {
    url: endpointName(url),
    client: new RestClient({
      url,
      tls,
      userToken,
      userAgent: 'kuma-deregistrar',
      idleConnections: IDLE_CONNECTIONS,
      lean: true,
    }),
  };
}

async function look({ url, client }: ControlPlaneTarget, signal: AbortSignal): Promise<InstanceLook> {
  try {
    const [index, config] = await Promise.all([client.get('', signal), readConfig(client, signal)]);
    requireAnswer('read the version', index);
    const facts = readFacts(index.body, config);
    return { url, seen: facts === undefined ? { problem: 'this is not a Kuma control plane' } : { facts } };
  } catch (error) {
    return { url, seen: { problem: describeError(error) } };
  }
}

/**
 * A user without admin rights may not read it; then Kuma's defaults apply. An answer that does not come is a problem of
 * its own.
 */
async function readConfig(client: RestClient, signal: AbortSignal): Promise<unknown> {
  const answer = await client.get('config', signal);
  if (answer.status === 403 || answer.status === 404) return undefined;
  requireAnswer('read the configuration', answer);
  return answer.body;
}

async function overview(client: RestClient, key: DataplaneKey, signal: AbortSignal): Promise<OverviewLook> {
  const action = `look at dataplane ${describeKey(key)}`;
  const answer = await client.get(`${resourcePath(key)}/_overview`, signal);
  const { clockMs } = answer;
  if (requireAnswer(action, answer) === 'missing') return { overview: undefined, clockMs };
  const found = readOverview(answer.body);
  if (found !== undefined && found.name === key.name && found.mesh === key.mesh) {
    return { overview: found, clockMs };
  }
  throw new OperationalError('ANSWER_UNREADABLE', `Cannot ${action}: the answer is not its overview`);
}

async function read(
  client: RestClient,
  key: DataplaneKey,
  signal: AbortSignal,
): Promise<DataplaneResource | undefined> {
  const action = `read dataplane ${describeKey(key)}`;
  const answer = await client.get(resourcePath(key), signal);
  if (requireAnswer(action, answer) === 'missing') return undefined;
  const parsed = DataplaneResource.safeParse(answer.body);
  if (parsed.success && parsed.data.name === key.name) return parsed.data;
  throw new OperationalError('ANSWER_UNREADABLE', `Cannot ${action}: the answer is not its resource`);
}

async function put(
  client: RestClient,
  { key, resource }: { readonly key: DataplaneKey; readonly resource: DataplaneResource },
  options: { readonly beforeSend: () => void; readonly signal: AbortSignal },
): Promise<void> {
  const action = `put dataplane ${describeKey(key)}`;
  const answer = requireAnswer(action, await client.putFenced(resourcePath(key), resource, options));
  if (answer === 'found') return;
  throw new OperationalError('ENDPOINT_REJECTED', `Cannot ${action}: there is no such mesh`);
}

/** A repeated DELETE is harmless: after a lost answer the second control plane finds the object gone. */
async function remove(
  client: RestClient,
  { key, beforeSend }: { readonly key: DataplaneKey; readonly beforeSend: () => void },
  signal: AbortSignal,
): Promise<'deleted' | 'already gone'> {
  const answer = await client.deleteFenced(resourcePath(key), beforeSend, signal);
  return requireAnswer(`delete dataplane ${describeKey(key)}`, answer) === 'found'
    ? 'deleted'
    : 'already gone';
}
