import type { Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { servicesOf } from '../../kuma/services.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import { CompanionAttachment, type AttachmentDeps } from '../companion/attachment.ts';
import type { AgentEvents } from '../events.ts';
import type { DerivedDataplane } from '../identity/derive.io.ts';
import { chooseOwner, isDeletable, type OwnerChoice } from '../identity/owner.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import { Endpoints } from '../object/endpoints.ts';
import { ObjectKeeper } from '../object/keeper.ts';
import type { Endpoint } from '../ports.ts';
import { OwnAddresses } from '../witness/own-addresses.io.ts';
import { LookingWitness } from '../witness/witness.ts';
import { openEndpoints, tokenOf, tokensOf, type EndpointTls } from './connection.ts';
import type { RunRequest } from './run-request.ts';

export interface PrepareContext {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly incarnation: string;
  readonly agentPid: number;
  /** On the monotonic clock, before kuma-dp was started. */
  readonly beganAtMs: number;
  readonly stdin: Promise<Uint8Array> | undefined;
  /** Aborts when a stop comes first. */
  readonly stopping: AbortSignal;
  /** Called when the agent has learned the facts that a departure depends on. */
  readonly onFacts: () => void;
}

export interface KnownDataplane {
  readonly derived: DerivedDataplane;
  readonly tls: EndpointTls;
}

export interface Connected {
  readonly urls: readonly URL[];
  readonly opened: readonly Endpoint[];
  readonly choice: OwnerChoice;
  readonly endpoints: Endpoints;
  readonly keeper: ObjectKeeper;
  /** `undefined` where there is no companion. */
  readonly attachment: CompanionAttachment | undefined;
  /** `undefined` where this agent looks at no other dataplane. */
  readonly witness: LookingWitness | undefined;
}

/** An invalid CA, for example, shows up here first. */
export async function tryConnect(
  request: RunRequest,
  context: PrepareContext,
  known: KnownDataplane,
): Promise<Connected | { readonly problem: string }> {
  try {
    return await connect(request, context, known);
  } catch (error) {
    return { problem: describeError(error) };
  }
}

async function connect(
  request: RunRequest,
  context: PrepareContext,
  { derived, tls }: KnownDataplane,
): Promise<Connected> {
  const { clock, events, incarnation } = context;
  const { options } = request;
  const { key, resource, defaultEndpoint } = derived.identity;
  const { urls, bypassed } = orderEndpoints(options.endpoints, {
    proxyType: key.proxyType,
    fallback: defaultEndpoint,
  });
  if (bypassed) events.companionsBypassed(derived.label);
  const hosts = [...urls.map(({ hostname }) => hostname), ...hostOf(derived.command.cpAddress)];
  const isAsked = options.witness === 'on' && urls.some(isCompanion);
  const witness = isAsked ? openWitness({ clock, events }, hosts) : undefined;
  const { endpoints: opened, companions } = await openEndpoints(urls, {
    tls,
    witness,
    ...tokensOf(options.userTokenFile, tokenOf(derived.command)),
  });
  const choice = chooseOwner(options.lifecycle, derived.identity, companions.length > 0);
  const departure = { key, own: { incarnation, address: resource?.networking?.address } };
  const mayDelete = isDeletable(choice.owner, options.deleteExternal);
  const shared = { clock, events, random: Math.random };
  const endpoints = new Endpoints({
    ...shared,
    endpoints: opened,
    key,
    services: servicesOf(resource),
    settle: options.settle,
    onFacts: context.onFacts,
  });
  const keeper = new ObjectKeeper({
    ...shared,
    endpoints,
    departure,
    template: resource,
    mayDelete,
    beganAtMs: context.beganAtMs,
  });
  const hello = { departure, deletable: mayDelete, resource };
  const attachment =
    companions.length === 0
      ? undefined
      : openAttachment({ ...shared, companions, hello }, { endpoints, keeper });
  return { urls, opened, choice, endpoints, keeper, attachment, witness };
}

function openAttachment(
  deps: Omit<AttachmentDeps, 'learn' | 'onStanding'>,
  { endpoints, keeper }: Pick<Connected, 'endpoints' | 'keeper'>,
): CompanionAttachment {
  keeper.onCompanion(false);
  return new CompanionAttachment({
    ...deps,
    learn: (facts) => {
      endpoints.learn(facts);
    },
    onStanding: (isAttached) => {
      keeper.onCompanion(isAttached);
    },
  });
}

/** @param hosts those of companions and control planes, at which no witness looks */
function openWitness(
  { clock, events }: Pick<PrepareContext, 'clock' | 'events'>,
  hosts: readonly string[],
): LookingWitness {
  const addresses = new OwnAddresses(clock, hosts);
  // The addresses are looked up before the first look, and nothing waits for that.
  void addresses.read();
  return new LookingWitness({ clock, events, connect: tcpConnect, ownAddresses: () => addresses.read() });
}

function hostOf(url: string): readonly string[] {
  return URL.canParse(url) ? [new URL(url).hostname] : [];
}
