import { OperationalError } from '../../kernel/errors.ts';
import { requireAnswer } from '../../kuma/answers.ts';
import { readFacts, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { DataplaneResource, describeKey, resourcePath, type DataplaneKey } from '../../kuma/dataplane.ts';
import { readOverview } from '../../kuma/overview.ts';
import { RestClient, type RestClientOptions } from '../../kuma/rest-client.io.ts';
import { judgeOwnership, judgeRecreation } from '../../kuma/ownership.ts';
import { asNotReady, asReady } from '../../kuma/owned-resource.ts';
import { NO_OBJECT, turned, type RotationAnswer, type RotationOrder } from '../../kuma/rotation.ts';
import type { Confirmation, Departure, Endpoint, Token } from '../ports.ts';
import { trustKnownRoots } from '../../program/known-roots.ts';

export interface KumaRestEndpointOptions extends Omit<RestClientOptions, 'userToken'> {
  readonly userToken: Token;
}

/** Kuma's own REST API as an {@link Endpoint}. Anonymous in open-source Kuma: a user token is optional. */
export function kumaRestEndpoint(options: KumaRestEndpointOptions): Endpoint {
  const { url, tls, userToken } = options;
  if (url.protocol === 'https:' && tls.ca === undefined && !tls.skipVerify) trustKnownRoots();
  const client = new RestClient({ ...options, userToken: () => userToken.current });
  return {
    url: options.url.origin,
    check: async (_key, signal) => {
      await userToken.refresh();
      return check(client, signal);
    },
    deregister: (departure, signal) => deregister(client, departure, signal),
    confirm: (departure, signal) => confirm(client, departure, signal),
    announce: ({ key, own }, template, signal) =>
      put(client, { key, resource: asNotReady(template, own.incarnation) }, signal),
    announceReady: (departure, template, signal) => announceReady(client, { departure, template }, signal),
    rotate: (departure, order, signal) => rotate(client, { departure, order }, signal),
    close: () => {
      client.close();
    },
  };
}

async function check(client: RestClient, signal: AbortSignal): Promise<ControlPlaneFacts> {
  const index = await client.get('', signal);
  requireAnswer('read the version', index);
  const config = await client.get('config', signal);
  const facts = readFacts(index.body, config.status === 200 ? config.body : undefined);
  if (facts !== undefined) return facts;
  throw new OperationalError(
    'ANSWER_UNREADABLE',
    'Cannot read the version: this is not a Kuma control plane',
  );
}

/**
 * An answer that got lost after the deletion needs no read-back of its own: the next attempt reads first, finds the
 * object missing, and that is success.
 */
async function deregister(
  client: RestClient,
  departure: Departure,
  signal: AbortSignal,
): Promise<'deleted' | 'already gone'> {
  const { key } = departure;
  const path = resourcePath(key);
  const name = describeKey(key);
  const stored = await client.get(path, signal);
  if (requireAnswer(`read dataplane ${name}`, stored) === 'missing') return 'already gone';
  requireOurs(departure, parseResource(name, stored.body));
  const answer = requireAnswer(`delete dataplane ${name}`, await client.delete(path, signal));
  return answer === 'found' ? 'deleted' : 'already gone';
}

async function confirm(
  client: RestClient,
  { key, own }: Departure,
  signal: AbortSignal,
): Promise<Confirmation> {
  const path = resourcePath(key);
  const name = describeKey(key);
  const answer = await client.get(`${path}/_overview`, signal);
  if (requireAnswer(`look at dataplane ${name}`, answer) === 'missing') return { verdict: 'gone' };
  const overview = readOverview(answer.body);
  if (overview === undefined) {
    throw new OperationalError(
      'ANSWER_UNREADABLE',
      `Cannot look at dataplane ${name}: this is not an overview`,
    );
  }
  const recreation = judgeRecreation(own, overview);
  if (recreation.verdict !== 'delete') return { verdict: recreation.verdict, reason: recreation.reason };
  requireAnswer(`delete dataplane ${name}`, await client.delete(path, signal));
  return { verdict: 'deleted' };
}

async function announceReady(
  client: RestClient,
  { departure, template }: { readonly departure: Departure; readonly template: DataplaneResource },
  signal: AbortSignal,
): Promise<void> {
  const { key, own } = departure;
  const name = describeKey(key);
  const answer = await client.get(resourcePath(key), signal);
  const missing = requireAnswer(`read dataplane ${name}`, answer) === 'missing';
  const stored = missing ? asNotReady(template, own.incarnation) : parseResource(name, answer.body);
  requireOurs(departure, stored);
  await put(client, { key, resource: asReady(stored, template) }, signal);
}

async function rotate(
  client: RestClient,
  { departure, order }: { readonly departure: Departure; readonly order: RotationOrder },
  signal: AbortSignal,
): Promise<RotationAnswer> {
  const { key } = departure;
  const name = describeKey(key);
  const answer = await client.get(resourcePath(key), signal);
  if (requireAnswer(`read dataplane ${name}`, answer) === 'missing') return NO_OBJECT;
  const stored = parseResource(name, answer.body);
  requireOurs(departure, stored);
  const { resource, ...said } = turned(stored, order);
  if (said.changed) await put(client, { key, resource }, signal);
  return said;
}

async function put(
  client: RestClient,
  { key, resource }: { readonly key: DataplaneKey; readonly resource: DataplaneResource },
  signal: AbortSignal,
): Promise<void> {
  const action = `put dataplane ${describeKey(key)}`;
  const answer = requireAnswer(action, await client.put(resourcePath(key), resource, signal));
  if (answer === 'found') return;
  throw new OperationalError('ENDPOINT_REJECTED', `Cannot ${action}: there is no such mesh`);
}

function requireOurs({ key, own }: Departure, stored: DataplaneResource): void {
  const ownership = judgeOwnership(own, stored);
  if (ownership.ours) return;
  throw new OperationalError(
    'DATAPLANE_FOREIGN',
    `Dataplane ${describeKey(key)} is left alone: ${ownership.reason}`,
  );
}

function parseResource(name: string, body: unknown): DataplaneResource {
  const parsed = DataplaneResource.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new OperationalError('ANSWER_UNREADABLE', `Cannot read dataplane ${name}: this is not a Dataplane`);
}
