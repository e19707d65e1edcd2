import { join } from 'node:path';

import { sleep, type Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { DEFAULT_FACTS } from '../../kuma/control-plane.ts';
import { linuxHost, type Host } from '../adapters/host.ts';
import { readStateFile, StateFile } from '../adapters/state-file.ts';
import { stateFileName, type HostState } from '../core/host-state.ts';
import { chooseOwner, isDeletable, type Owner } from '../core/lifecycle-choice.ts';
import { restartPacingMs } from '../core/restart-pacing.ts';
import type { AgentEvents } from '../events.ts';
import { Registration } from '../registration.ts';
import { endpointUrls, openEndpoints, readTls, type EndpointTls } from './connection.ts';
import { deriveDataplane, type DerivedDataplane } from './derive.ts';
import type { RunRequest } from './run-request.ts';

/** What a run knows of its dataplane once everything that comes before kuma-dp is done. */
export interface PreparedDataplane extends DerivedDataplane {
  readonly owner: Owner;
  readonly registration: Registration;
  readonly stateFile: StateFile;
  readonly host: Host;
  readonly initialState: HostState;
}

export interface PrepareContext {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly incarnation: string;
  readonly agentPid: number;
  readonly stdin: Promise<Uint8Array> | undefined;
  /** Aborts when a stop comes first. */
  readonly stopping: AbortSignal;
}

/** A start that waits for its control plane waits no longer than this, so that it costs less than a second in all. */
const ANNOUNCE_BUDGET_MS = 900;

/**
 * Derives which dataplane it is, waits until its name is accepted again, and puts the object if the agent owns it.
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
    return { problem: `another agent on this host looks after ${derived.label}: pid ${previous.agent.pid}` };
  }
  const tls = tryReadTls(request, derived);
  if ('problem' in tls) return tls;
  if (derived.unset.length > 0) context.events.templateDoubted(`nobody sets ${derived.unset.join(', ')}`);
  const registration = register(request, context, { derived, tls });
  if (options.restartPacing === 'auto') await pace(previous, host, context);
  const owner = await announce(request, context, { derived, registration });
  const initialState = stateAtStart(request, context, { derived, tls, owner, host });
  return { ...derived, owner, registration, stateFile, host, initialState };
}

function tryReadTls(
  request: RunRequest,
  derived: DerivedDataplane,
): EndpointTls | { readonly problem: string } {
  try {
    return readTls(request.options, derived.command);
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

function register(
  { options }: RunRequest,
  { clock, events, incarnation }: PrepareContext,
  { derived, tls }: { readonly derived: DerivedDataplane; readonly tls: EndpointTls },
): Registration {
  const { key, resource } = derived.identity;
  return new Registration({
    clock,
    events,
    random: Math.random,
    endpoints: openEndpoints(endpointUrls(options.endpoints, derived.identity), {
      tls,
      userTokenFile: options.userTokenFile,
    }),
    departure: { key, own: { incarnation, address: resource?.networking?.address } },
    mayDelete: isDeletable(chooseOwner(options.lifecycle, derived.identity).owner, options.deleteExternal),
    settle: options.settle,
  });
}

async function pace(previous: HostState | undefined, host: Host, context: PrepareContext): Promise<void> {
  if (previous === undefined) return;
  const { owner, endedAtUptimeMs, deregistrationDelayMs, controlPlaneVersion: version } = previous;
  const waitMs = restartPacingMs({ owner, endedAtUptimeMs, deregistrationDelayMs, version }, host.uptimeMs());
  if (waitMs === 0) return;
  context.events.startPaced(waitMs);
  await sleep(context.clock, waitMs, context.stopping).catch(() => {});
}

/** Puts the object if the agent is to own it. Where that fails in time, its control plane creates it as without us. */
async function announce(
  { options }: RunRequest,
  { events, stopping }: PrepareContext,
  { derived, registration }: { readonly derived: DerivedDataplane; readonly registration: Registration },
): Promise<Owner> {
  const { identity } = derived;
  const { owner, because } = chooseOwner(options.lifecycle, identity);
  if (because !== undefined) events.ownershipGivenUp(because);
  if (owner !== 'agent' || identity.resource === undefined || stopping.aborted) return owner;
  try {
    await registration.announce(identity.resource, ANNOUNCE_BUDGET_MS, stopping);
    events.dataplaneAnnounced();
    return 'agent';
  } catch (error) {
    events.ownershipGivenUp(describeError(error));
    return 'cp';
  }
}

function stateAtStart(
  { options }: RunRequest,
  { incarnation, agentPid }: PrepareContext,
  known: {
    readonly derived: DerivedDataplane;
    readonly tls: EndpointTls;
    readonly owner: Owner;
    readonly host: Host;
  },
): HostState {
  const { derived, tls, owner, host } = known;
  const { key, resource } = derived.identity;
  const { clientCertificateFile, clientKeyFile, userTokenFile } = options;
  return {
    schema: 1,
    incarnation,
    dataplane: key,
    owner,
    mayDelete: isDeletable(owner, options.deleteExternal),
    address: resource?.networking?.address,
    endpoints: endpointUrls(options.endpoints, derived.identity).map((url) => url.href),
    ca: tls.ca,
    skipVerify: tls.skipVerify,
    clientCertificateFile,
    clientKeyFile,
    userTokenFile,
    bootId: host.bootId,
    agent: host.processRef(agentPid) ?? { pid: agentPid, startTicks: 0 },
    phase: 'running',
    deregistered: false,
    deregistrationDelayMs: DEFAULT_FACTS.deregistrationDelayMs,
  };
}
