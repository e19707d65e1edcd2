import { randomUUID } from 'node:crypto';

import { hasCode, OperationalError } from '../../kernel/errors.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { describeKey, type DataplaneKey } from '../../kuma/dataplane.ts';
import type { Made, Want } from '../../kuma/object-wish.ts';
import {
  DeregisterResponse_Outcome as Outcome,
  GetControlPlaneResponse_Siblings as Siblings,
  type DeregisterResponse,
  type DeregistrarClient,
  type GetControlPlaneResponse,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { systemClock } from '../../kernel/clock.ts';
import { endpointName } from '../../kernel/endpoint-name.ts';
import type { AttachStream, EndpointAttempt, Companion, Departure, Witness } from '../ports.ts';
import { CompanionChannel, type CompanionChannelOptions } from './companion-channel.io.ts';
import {
  fromConfirmation,
  fromControlPlane,
  toHello,
  toIncarnation,
  toRegister,
  type RegisterWish,
} from './companion-messages.io.ts';
import { CompanionNews } from './companion-news.ts';
import { openCompanionStream, type CompanionStreamOptions } from './companion-stream.io.ts';
import { unaryCall, type UnaryCall, type UnaryMethod } from './unary-call.io.ts';

export { LONE_PINGS } from './companion-channel.io.ts';

type CompanionOptions = CompanionChannelOptions & { readonly witness?: Witness | undefined };

/**
 * The companion of a control plane as an {@link Endpoint}, over gRPC. If the caller gives up, the companion continues
 * with the request; a second call joins the first.
 */
export function companionEndpoint(options: CompanionOptions): Companion {
  const channel = new CompanionChannel(options);
  const url = endpointName(options.url);
  const anonymous = randomUUID();
  const news = new CompanionNews<DeregistrarClient>(systemClock);
  return {
    url,
    remembers: true,
    check: (key, signal) => check({ channel, url, news, options }, key, signal),
    make: (departure, { wish, template }, attempt) =>
      wish.state === 'absent'
        ? deregister({ channel, url, anonymous }, departure, attempt)
        : register({ channel, url, anonymous }, { departure, wish, template }, attempt),
    isLastOfService: async (key, services, signal) => {
      const action = `look for siblings through ${url}`;
      const { siblings } = await askOfZone(channel, { action, key, services }, signal);
      return siblings !== Siblings.PRESENT;
    },
    silentControlPlanes: async (key, signal) => {
      const action = `ask ${url} for silent control planes`;
      const { silentControlPlanes } = await askOfZone(channel, { action, key, findSilent: true }, signal);
      return silentControlPlanes;
    },
    confirm: async (departure, stage, signal) => {
      const answer = await ask(channel, (client) => client.confirm.bind(client), {
        action: `confirm that dataplane ${describeKey(departure.key)} is gone`,
        request: { incarnation: toIncarnation(departure, anonymous), serving: stage === 'serving' },
        signal,
      });
      return fromConfirmation(answer);
    },
    attach: (hello, listener, wait) =>
      attach(
        { channel, url, news, options },
        {
          hello: toHello(hello, anonymous, options.witness !== undefined),
          status: hello.status,
          listener,
          wait,
        },
      ),
    close: () => {
      channel.close();
    },
  };
}

interface Followed {
  readonly channel: CompanionChannel;
  readonly url: string;
  readonly news: CompanionNews<DeregistrarClient>;
  readonly options: CompanionOptions;
}

async function check(
  { channel, url, news, options }: Followed,
  key: DataplaneKey,
  signal: AbortSignal,
): Promise<ControlPlaneFacts> {
  options.tls.refresh?.();
  await options.token.refresh();
  const asked = { client: channel.client, token: options.token.current };
  const told = news.instead(asked);
  if (told !== undefined) return told;
  const action = `look at the control plane through ${url}`;
  const { controlPlane } = await askOfZone(channel, { action, key }, signal);
  news.asked(asked);
  return fromControlPlane(controlPlane);
}

async function attach(
  { channel, url, news, options: { token, witness } }: Followed,
  { hello, listener, ...how }: Pick<CompanionStreamOptions, 'hello' | 'status' | 'listener' | 'wait'>,
): Promise<AttachStream> {
  if (token.current === undefined) await token.refresh();
  const { client } = channel;
  const stream = await openCompanionStream({
    ...how,
    action: `attach to ${url}`,
    call: client.attach(channel.metadata()),
    hello,
    witness,
    listener: news.heardBy(listener, client),
    // The same name may lead to another replica.
    onRedirected: () => {
      channel.renew();
    },
  });
  void stream.ended.then(() => {
    news.end(client);
  });
  return stream;
}

interface ZoneQuestion {
  readonly action: string;
  readonly key: DataplaneKey;
  readonly services?: readonly string[];
  readonly findSilent?: boolean;
}

function askOfZone(
  channel: CompanionChannel,
  { action, key: { mesh, name }, services = [], findSilent = false }: ZoneQuestion,
  signal: AbortSignal,
): Promise<GetControlPlaneResponse> {
  const request = { dataplane: { mesh, name }, services: [...services], findSilent };
  return ask(channel, (client) => client.getControlPlane.bind(client), { action, request, signal });
}

interface Line {
  readonly channel: CompanionChannel;
  readonly url: string;
  /** The incarnation of a caller that names a dataplane without having run it. */
  readonly anonymous: string;
}

async function deregister(
  { channel, url, anonymous }: Line,
  departure: Departure,
  { signal, budgetMs }: EndpointAttempt,
): Promise<Made> {
  const answer = await ask(channel, (client) => client.deregister.bind(client), {
    action: `deregister dataplane ${describeKey(departure.key)}`,
    request: { incarnation: toIncarnation(departure, anonymous) },
    signal,
    budgetMs,
  });
  const deleted = readOutcome(departure, url, answer) === 'deleted';
  return { found: deleted, changed: deleted, states: {} };
}

async function register(
  line: Line,
  { departure, wish, template }: Want & { readonly departure: Departure; readonly wish: RegisterWish },
  attempt: EndpointAttempt,
): Promise<Made> {
  const { channel, anonymous } = line;
  const { client } = channel;
  const onGivenUp = (): void => {
    renewIfSilent(channel, client, attempt.signal.reason);
  };
  attempt.signal.addEventListener('abort', onGivenUp, { once: true });
  const made = await ask(channel, (each) => each.register.bind(each), {
    action: `${ACTIONS[wish.state]} dataplane ${describeKey(departure.key)}`,
    request: toRegister(departure, { wish, template }, anonymous),
    // The companion may carry out the request although the caller gave up: its answer is worth the wait.
    signal: attempt.send(),
  }).finally(() => {
    attempt.signal.removeEventListener('abort', onGivenUp);
  });
  const missing = !made.found && !made.changed && template !== undefined;
  if (!missing || wish.state === 'ready') return made;
  // A companion of 0.1.0 has only looked.
  await register(line, { departure, wish: { state: 'hidden', takeOver: true }, template }, attempt);
  return { ...made, changed: true };
}

const ACTIONS = {
  hidden: 'put',
  ready: 'make ready',
  out: 'take out of rotation',
  unmarked: 'put back',
} as const;

/** A call without an answer may have used a dead connection: the next one gets a new connection. */
async function ask<Request, Response>(
  channel: CompanionChannel,
  method: (client: DeregistrarClient) => UnaryMethod<Request, Response>,
  call: Omit<UnaryCall<Request, Response>, 'method' | 'metadata'>,
): Promise<Response> {
  const { client } = channel;
  try {
    return await unaryCall({ ...call, method: method(client), metadata: channel.metadata() });
  } catch (error) {
    renewIfSilent(channel, client, error);
    channel.refreshUnlessTrusted(error);
    throw error;
  }
}

function renewIfSilent(channel: CompanionChannel, client: DeregistrarClient, error: unknown): void {
  if (hasCode(error, 'DEADLINE_EXCEEDED') && channel.client === client) channel.renew();
}

function readOutcome(
  { key }: Departure,
  url: string,
  { outcome, guard, reason, durable }: DeregisterResponse,
): 'deleted' | 'already gone' {
  const name = describeKey(key);
  const held = guard === '' ? reason : `${guard}: ${reason}`;
  switch (outcome) {
    case Outcome.DELETED:
      return 'deleted';
    case Outcome.ALREADY_GONE:
      return 'already gone';
    case Outcome.ACCEPTED:
      throw new OperationalError('ENDPOINT_BUSY', `Dataplane ${name} is not deleted yet: ${held}`, {
        details: { handedOver: durable, endpoint: url },
      });
    case Outcome.REFUSED:
      throw new OperationalError('DATAPLANE_FOREIGN', `Dataplane ${name} stays as it is: ${held}`, {
        details: { guard },
      });
    case Outcome.UNSPECIFIED:
      throw new OperationalError(
        'ANSWER_UNREADABLE',
        `Cannot deregister dataplane ${name}: the companion's answer has no outcome`,
      );
  }
}
