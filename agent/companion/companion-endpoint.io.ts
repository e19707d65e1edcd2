import { randomUUID } from 'node:crypto';

import { OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { RotationAnswer, RotationOrder } from '../../kuma/rotation.ts';
import {
  DeregisterResponse_Outcome as Outcome,
  type DeregisterResponse,
  type DeregistrarClient,
  type RegisterRequest,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { endpointName } from '../object/endpoint-url.pure.ts';
import type { Companion, Departure } from '../ports.ts';
import { CompanionChannel, type CompanionChannelOptions } from './companion-channel.io.ts';
import {
  fromConfirmation,
  fromControlPlane,
  toHello,
  toIncarnation,
  toRegister,
  toRotation,
} from './companion-messages.io.ts';
import { openCompanionStream } from './companion-stream.io.ts';
import { unaryCall, type UnaryCall, type UnaryMethod } from './unary-call.io.ts';

/**
 * The companion of a control plane as an {@link Endpoint}, over gRPC.
 *
 * Whatever it was asked goes on there if the caller gives up: a second call joins the first.
 */
export function companionEndpoint(options: CompanionChannelOptions): Companion {
  const channel = new CompanionChannel(options);
  const url = endpointName(options.url);
  const anonymous = randomUUID();
  return {
    url,
    remembers: true,
    check: async ({ mesh, name }, signal) => {
      await options.token.refresh();
      const { controlPlane } = await ask(channel, (client) => client.getControlPlane.bind(client), {
        action: `look at the control plane through ${url}`,
        request: { dataplane: { mesh, name } },
        signal,
      });
      return fromControlPlane(controlPlane);
    },
    deregister: async (departure, signal, budgetMs) => {
      const answer = await ask(channel, (client) => client.deregister.bind(client), {
        action: `deregister dataplane ${describeKey(departure.key)}`,
        request: { incarnation: toIncarnation(departure, anonymous) },
        signal,
        budgetMs,
      });
      return readOutcome(departure, url, answer);
    },
    confirm: async (departure, signal) => {
      const answer = await ask(channel, (client) => client.confirm.bind(client), {
        action: `confirm that dataplane ${describeKey(departure.key)} is gone`,
        request: { incarnation: toIncarnation(departure, anonymous) },
        signal,
      });
      return fromConfirmation(answer);
    },
    announce: (departure, template, signal) =>
      register(channel, toRegister({ departure, template, ready: false }, anonymous), signal),
    announceReady: (departure, template, signal) =>
      register(channel, toRegister({ departure, template, ready: true }, anonymous), signal),
    rotate: (departure, order, signal) => rotate(channel, { departure, order, anonymous }, signal),
    attach: async (hello, onAttached, signal) => {
      if (options.token.current === undefined) await options.token.refresh();
      return openCompanionStream({
        action: `attach to ${url}`,
        call: channel.client.attach(channel.metadata()),
        hello: toHello(hello, anonymous),
        status: hello.status,
        onAttached,
        // Behind the same name there may be another replica.
        onRedirected: () => {
          channel.renew();
        },
        signal,
      });
    },
    close: () => {
      channel.close();
    },
  };
}

async function rotate(
  channel: CompanionChannel,
  how: { readonly departure: Departure; readonly order: RotationOrder; readonly anonymous: string },
  signal: AbortSignal,
): Promise<RotationAnswer> {
  const { departure, order, anonymous } = how;
  const { found, changed, states } = await ask(channel, (client) => client.register.bind(client), {
    action: `${ROTATION_ACTIONS[order.turn]} dataplane ${describeKey(departure.key)}`,
    request: toRotation(departure, order, anonymous),
    signal,
  });
  return { found, changed, states };
}

async function register(
  channel: CompanionChannel,
  request: RegisterRequest,
  signal: AbortSignal,
): Promise<void> {
  const { dataplane } = request.incarnation ?? {};
  const name = `${dataplane?.mesh}/${dataplane?.name}`;
  const action = request.ready ? `make dataplane ${name} ready` : `put dataplane ${name}`;
  await ask(channel, (client) => client.register.bind(client), { action, request, signal });
}

const ROTATION_ACTIONS = { look: 'look at', out: 'take out of rotation', in: 'put back' } as const;

/** A call that got no answer in time may have met a connection that is dead without knowing: the next one gets another. */
async function ask<Request, Response>(
  channel: CompanionChannel,
  method: (client: DeregistrarClient) => UnaryMethod<Request, Response>,
  call: Omit<UnaryCall<Request, Response>, 'method' | 'metadata'>,
): Promise<Response> {
  const { client } = channel;
  try {
    return await unaryCall({ ...call, method: method(client), metadata: channel.metadata() });
  } catch (error) {
    const silent = error instanceof OperationalError && error.code === 'DEADLINE_EXCEEDED';
    if (silent && channel.client === client) channel.renew();
    throw error;
  }
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
      throw new OperationalError('ENDPOINT_BUSY', `Dataplane ${name} is not gone yet: ${held}`, {
        details: { handedOver: durable, endpoint: url },
      });
    case Outcome.REFUSED:
      throw new OperationalError('DATAPLANE_FOREIGN', `Dataplane ${name} is left alone: ${held}`, {
        details: { guard },
      });
    case Outcome.UNSPECIFIED:
      throw new OperationalError('ANSWER_UNREADABLE', `Cannot deregister dataplane ${name}: no outcome`);
  }
}
