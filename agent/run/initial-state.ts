import { resolve } from 'node:path';

import type { AgentEvents } from '../events.ts';
import { isDeletable, type Owner } from '../identity/owner.pure.ts';
import type { HostState } from '../state/host-state.pure.ts';
import type { Host } from '../state/host.io.ts';
import { readStateFile } from '../state/state-file.io.ts';
import type { KnownDataplane, PrepareContext } from './connect.ts';
import { authority, tokenOf } from './connection.ts';
import { previousRun } from './pace-start.ts';
import type { RunRequest } from './run-request.ts';

/** @returns the last run's state, if it is from this boot */
export function readPrevious(path: string, host: Host, events: AgentEvents): HostState | undefined {
  try {
    const previous = readStateFile(path);
    return previous?.bootId === host.bootId ? previous : undefined;
  } catch (error) {
    events.stateUnreadable(error);
    return undefined;
  }
}

/** The facts that a run uses until it has better ones. */
export function inherited(previous: HostState): Partial<HostState> {
  const { rotation, lastStop, controlPlaneVersion } = previous;
  const { deregistrationDelayMs } = previousRun(previous);
  return { rotation, lastStop, controlPlaneVersion, deregistrationDelayMs };
}

export function stateAtStart(
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
