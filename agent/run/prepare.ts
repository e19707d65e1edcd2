import { join, resolve } from 'node:path';

import { type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { servicesOf } from '../../kuma/services.ts';
import { linuxHost, outwait, type Host } from '../state/host.io.ts';
import { readStateFile, StateFile } from '../state/state-file.io.ts';
import { stateFileName, type HostState } from '../state/host-state.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import { chooseOwner, isDeletable, type Owner, type OwnerChoice } from '../identity/owner.pure.ts';
import type { Endpoint } from '../ports.ts';
import { paceStart, previousRun } from './pace-start.ts';
import { STOP_WISHES } from '../stop/stop-budget.pure.ts';
import type { AgentEvents } from '../events.ts';
import { CompanionAttachment } from '../companion/attachment.ts';
import { claimName } from '../object/claim-name.ts';
import { Endpoints } from '../object/endpoints.ts';
import { ObjectKeeper } from '../object/keeper.ts';
import { authority, openEndpoints, readTls, tokenOf, tokensOf, type EndpointTls } from './connection.ts';
import { deriveDataplane, type DerivedDataplane } from '../identity/derive.io.ts';
import { OwnAddresses } from '../witness/own-addresses.io.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import { LookingWitness } from '../witness/witness.ts';
import type { RunRequest } from './run-request.ts';

/** A run's dataplane, once all steps before the start of kuma-dp are done. */
export interface PreparedDataplane extends DerivedDataplane {
  readonly owner: Owner;
  readonly endpoints: Endpoints;
  readonly keeper: ObjectKeeper;
  /** `undefined` where there is no companion. */
  readonly attachment: CompanionAttachment | undefined;
  /** `undefined` where this agent looks at no other dataplane. */
  readonly witness: LookingWitness | undefined;
  readonly stateFile: StateFile;
  readonly host: Host;
  readonly initialState: HostState;
}

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
  /** Called when the facts that a departure depends on were learnt. */
  readonly onFacts: () => void;
}

const PREDECESSOR_POLL_MS = 100;

interface KnownDataplane {
  readonly derived: DerivedDataplane;
  readonly tls: EndpointTls;
}

interface Connected {
  readonly urls: readonly URL[];
  readonly opened: readonly Endpoint[];
  readonly choice: OwnerChoice;
  readonly endpoints: Endpoints;
  readonly keeper: ObjectKeeper;
  readonly attachment: CompanionAttachment | undefined;
  /** `undefined` where this agent looks at no other dataplane. */
  readonly witness: LookingWitness | undefined;
}

/**
 * Derives the dataplane, waits until its name is accepted again, takes an epoch if there is a companion, and puts the
 * object if the agent owns it.
 *
 * @returns the problem in words where the dataplane cannot be deregistered later
 */
export async function prepare(
  request: RunRequest,
  context: PrepareContext,
): Promise<PreparedDataplane | { readonly problem: string }> {
  const { options } = request;
  const derived = await deriveDataplane(request.argv, request.env, context.stdin);
  if ('problem' in derived) return derived;
  const { key } = derived.identity;
  const host = linuxHost();
  const stateFile = new StateFile(join(options.stateDir, stateFileName(key)));
  const previous = readPrevious(stateFile.path, host, context.events);
  if (previous !== undefined && host.isAlive(previous.agent)) {
    return { problem: `another agent on this host runs ${derived.label}: pid ${previous.agent.pid}` };
  }
  const tls = tryReadTls(request, derived, context.events);
  if ('problem' in tls) return tls;
  for (const obstacle of derived.command.obstacles) context.events.wrapperInTheWay(obstacle);
  if (derived.unset.length > 0) context.events.templateDoubted(`not set: ${derived.unset.join(', ')}`);
  const connected = await tryConnect(request, context, { derived, tls });
  if ('problem' in connected) return connected;
  if (options.restartPacing === 'auto' && previous !== undefined) {
    const ended = await outwaitPredecessor(previous, {
      host,
      context,
      drainTimeMs: derived.identity.drainTimeMs,
    });
    await paceStart(ended, key, {
      ...context,
      random: Math.random,
      endpoints: connected.opened,
      uptimeMs: () => host.uptimeMs(),
    });
  }
  const { endpoints, keeper, attachment, witness, urls, choice } = connected;
  const owner = await claimName(
    { clock: context.clock, events: context.events, keeper, attachment, stopping: context.stopping },
    { choice, insistent: options.lifecycle === 'agent' },
  );
  const initialState = {
    ...stateAtStart(request, context, { derived, tls, owner, host, urls }),
    ...(previous === undefined ? {} : inherited(previous)),
  };
  return { ...derived, owner, endpoints, keeper, attachment, witness, stateFile, host, initialState };
}

function tryReadTls(
  request: RunRequest,
  derived: DerivedDataplane,
  events: AgentEvents,
): EndpointTls | { readonly problem: string } {
  try {
    return readTls(request.options, derived.command, events.fileKept);
  } catch (error) {
    return { problem: describeError(error) };
  }
}

/** @returns the last run's state, if it is from this boot */
function readPrevious(path: string, host: Host, events: AgentEvents): HostState | undefined {
  try {
    const previous = readStateFile(path);
    return previous?.bootId === host.bootId ? previous : undefined;
  } catch (error) {
    events.stateUnreadable(error);
    return undefined;
  }
}

/** An invalid CA, for example, shows up here first. */
async function tryConnect(
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
  if (companions.length > 0) keeper.onCompanion(false);
  const attachment =
    companions.length === 0
      ? undefined
      : new CompanionAttachment({
          ...shared,
          companions,
          hello: { departure, deletable: mayDelete, resource },
          learn: (facts) => {
            endpoints.learn(facts);
          },
          onStanding: (isAttached) => {
            keeper.onCompanion(isAttached);
          },
        });
  return { urls, opened, choice, endpoints, keeper, attachment, witness };
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

/**
 * The kuma-dp of a killed agent keeps draining, and has the ports that the next one needs. Waits until it has ended, at
 * most for its drain time and its end.
 *
 * @returns `previous`, with the end that its killed agent could not record
 */
async function outwaitPredecessor(
  previous: HostState,
  { host, context, drainTimeMs }: { host: Host; context: PrepareContext; drainTimeMs: number },
): Promise<HostState> {
  const { kumaDp } = previous;
  const { clock, events, stopping } = context;
  if (kumaDp === undefined || !host.isAlive(kumaDp)) return previous;
  events.predecessorDrains(kumaDp.pid);
  const byMs = clock.monotonicMs() + drainTimeMs + STOP_WISHES.exitMs;
  await outwait(() => host.isAlive(kumaDp), { clock, pollMs: PREDECESSOR_POLL_MS, byMs, cancel: stopping });
  return host.isAlive(kumaDp) ? previous : { ...previous, endedAtUptimeMs: host.uptimeMs() };
}

/** The facts that a run uses until it has better ones. */
function inherited(previous: HostState): Partial<HostState> {
  const { rotation, lastStop, controlPlaneVersion } = previous;
  const { deregistrationDelayMs } = previousRun(previous);
  return { rotation, lastStop, controlPlaneVersion, deregistrationDelayMs };
}

function stateAtStart(
  { options, env }: RunRequest,
  { incarnation, agentPid }: PrepareContext,
  known: KnownDataplane & {
    readonly owner: Owner;
    readonly host: Host;
    readonly urls: readonly URL[];
  },
): HostState {
  const { derived, tls, owner, host, urls } = known;
  const { key, resource } = derived.identity;
  const { clientCertificateFile, clientKeyFile, userTokenFile } = options;
  const { ca, caFile } = authority(options.caFile, derived.command);
  return {
    schema: 1,
    incarnation,
    dataplane: key,
    owner,
    mayDelete: isDeletable(owner, options.deleteExternal),
    address: resource?.networking?.address,
    endpoints: urls.map((url) => url.href),
    ca,
    caFile: caFile === undefined ? undefined : resolve(caFile),
    skipVerify: tls.skipVerify,
    clientCertificateFile,
    clientKeyFile,
    userTokenFile,
    dataplaneTokenFile: tokenOf(derived.command).file,
    bootId: host.bootId,
    agent: host.processRef(agentPid) ?? { pid: agentPid, startTicks: 0 },
    phase: 'running',
    deregistered: false,
    connected: false,
    invocation: env['INVOCATION_ID'],
  };
}
