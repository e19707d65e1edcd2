import { endpointName } from '../../kernel/endpoint-name.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { requireAnswer } from '../../kuma/answers.ts';
import { readFacts, type ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { DataplaneResource, describeKey, resourcePath, type DataplaneKey } from '../../kuma/dataplane.ts';
import { lookForSibling } from '../../kuma/services.io.ts';
import { readOverview } from '../../kuma/overview.ts';
import { RestClient, type RestClientOptions } from '../../kuma/rest-client.io.ts';
import { judgeConnected, judgeRecreation, judgeReturn, type RunStage } from '../../kuma/ownership.ts';
import { madeOf, nextObject, type Made, type Want } from '../../kuma/object-wish.ts';
import type { EndpointAttempt, Confirmation, Departure, Endpoint, Token } from '../ports.ts';
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
    url: endpointName(options.url),
    check: async (_key, signal) => {
      tls.refresh?.();
      await userToken.refresh();
      return check(client, signal);
    },
    make: (departure, want, attempt) => make(client, { departure, want }, attempt),
    isLastOfService: (key, services, signal) => isLastOfService(client, { key, services }, signal),
    confirm: (departure, stage, signal) => confirm(client, { departure, stage }, signal),
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
    'Cannot read the version: another program than a Kuma control plane answers',
  );
}

/**
 * After a lost answer to a write there is no extra read: the next attempt reads first, and counts an object that is as
 * wished as success.
 */
async function make(
  client: RestClient,
  { departure, want }: { readonly departure: Departure; readonly want: Want },
  attempt: EndpointAttempt,
): Promise<Made> {
  const { key, own } = departure;
  const { wish } = want;
  const name = describeKey(key);
  const takesOver = wish.state === 'hidden' && wish.takeOver;
  const stored = takesOver ? undefined : await read(client, key, attempt.signal);
  const next = nextObject(stored, want, own);
  switch (next.next) {
    case 'nothing':
      return madeOf(stored, next);
    case 'foreign':
      throw new OperationalError('DATAPLANE_FOREIGN', `Dataplane ${name} stays as it is: ${next.reason}`);
    case 'put':
      await put(client, { key, resource: next.resource }, attempt.send());
      return madeOf(stored, next);
    case 'delete': {
      await requireOwnStream(client, departure, attempt.signal);
      const answer = await client.delete(resourcePath(key), attempt.signal);
      const found = requireAnswer(`delete dataplane ${name}`, answer) === 'found';
      return { ...madeOf(stored, next), changed: found };
    }
  }
}

/** @throws `DATAPLANE_FOREIGN` if another run is connected to the object */
async function requireOwnStream(
  client: RestClient,
  { key, own }: Departure,
  signal: AbortSignal,
): Promise<void> {
  const { unprovenForMs } = own;
  if (unprovenForMs === undefined) return;
  const { body, clockMs } = await client.get(`${resourcePath(key)}/_overview`, signal);
  const overview = readOverview(body);
  const ownership = overview === undefined ? undefined : judgeConnected(overview, { unprovenForMs, clockMs });
  if (ownership?.ours !== false) return;
  throw new OperationalError(
    'DATAPLANE_FOREIGN',
    `Dataplane ${describeKey(key)} stays as it is: ${ownership.reason}`,
  );
}

async function read(
  client: RestClient,
  key: DataplaneKey,
  signal: AbortSignal,
): Promise<DataplaneResource | undefined> {
  const name = describeKey(key);
  const answer = await client.get(resourcePath(key), signal);
  if (requireAnswer(`read dataplane ${name}`, answer) === 'missing') return undefined;
  const parsed = DataplaneResource.safeParse(answer.body);
  if (parsed.success) return parsed.data;
  throw new OperationalError(
    'ANSWER_UNREADABLE',
    `Cannot read dataplane ${name}: the answer is not a Dataplane`,
  );
}

async function isLastOfService(
  client: RestClient,
  { key, services }: { readonly key: DataplaneKey; readonly services: readonly string[] },
  signal: AbortSignal,
): Promise<boolean> {
  const siblings = await Promise.all(
    services.map((service) => lookForSibling(client, { key, service }, signal)),
  );
  return siblings.includes(false);
}

async function confirm(
  client: RestClient,
  { departure: { key, own }, stage }: { readonly departure: Departure; readonly stage: RunStage },
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
      `Cannot look at dataplane ${name}: the answer is not an overview`,
    );
  }
  const recreation = stage === 'serving' ? judgeReturn(own, overview) : judgeRecreation(own, overview);
  if (recreation.verdict !== 'delete') return { verdict: recreation.verdict, reason: recreation.reason };
  requireAnswer(`delete dataplane ${name}`, await client.delete(path, signal));
  return { verdict: 'deleted' };
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
