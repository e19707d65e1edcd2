import { lstatSync } from 'node:fs';
import process from 'node:process';

import { systemClock } from '../../kernel/clock.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { writeError, writeNotice } from '../child/standard-streams.io.ts';
import { orderEndpoints } from '../object/endpoint-url.pure.ts';
import type { DeregisterOptions } from '../options.ts';
import type { Token } from '../ports.ts';
import {
  importCompanion,
  openEndpoints,
  readIfNamed,
  tokensOf,
  type OpenEndpoints,
} from '../run/connection.ts';
import { actAs, foreignOwner } from '../state/acting-owner.io.ts';
import { judgeTakeover, selectOwnRuns, type HostState } from '../state/host-state.pure.ts';
import { linuxHost, outwait, type Host } from '../state/host.io.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import { readStateFile, StateFile } from '../state/state-file.io.ts';
import { attemptAll, deregisterOutright, takeOver, warnWithoutToken, type Attempts } from './attempt-all.ts';

/** The caller's own options, read before any state file. */
export interface CallersMeans {
  readonly tls: EndpointTls;
  readonly userToken: Token | undefined;
  readonly dataplaneToken: Token | undefined;
}

export interface FinishRequest extends Attempts {
  readonly path: string;
  readonly options: DeregisterOptions;
  readonly means: CallersMeans;
  /** The same value for the service and for what systemd runs at its end: systemd.exec(5). */
  readonly service: { readonly invocation: string | undefined } | undefined;
}

interface Request extends FinishRequest {
  /** This user or root wrote the state files. */
  readonly trusted: boolean;
}

/** `left`: the object may still exist, and this call could not delete it. */
type Result = 'done' | 'left' | 'unreadable';

interface FoundRun {
  readonly path: string;
  readonly state: HostState;
}

/** More than a killed process takes to end, and less than a service manager waits for its ExecStopPost. */
const KILL_PATIENCE_MS = 1_000;
const KILL_POLL_MS = 20;
/** More than the agent ever creates: another user's files must not make this call endless. */
const MOST_FILES = 256;

/**
 * Finishes the stops of killed agents, from one state file or each file of a folder, within one time limit. As
 * ExecStopPost only for its own service's run: a restart waits for this.
 */
export async function finishRuns(given: FinishRequest): Promise<ChildExit> {
  const { path } = given;
  const owner = foreignOwner(path);
  if (owner !== undefined) {
    requireOwnEndpoint(given.options, { path, owner: owner.uid });
    // The other user may not be allowed to read the program.
    await importCompanion();
    actAs(owner);
  }
  const request = { ...given, trusted: owner === undefined };
  const files = listStateFiles(path)?.toSorted();
  if (files === undefined) return exitOf([await finishFile(path, request, 'left')], true);
  const { found, unreadable } = readAll(files.slice(0, MOST_FILES));
  if (files.length > MOST_FILES)
    writeError(`"${path}" has more than ${MOST_FILES} state files: this call finishes no more of them`);
  const own = request.service === undefined ? found : selectOwnRuns(found, request.service.invocation);
  const results = await Promise.all(own.map((each) => finish(each, request, 'done')));
  const odd: Result[] = unreadable > 0 || files.length > MOST_FILES ? ['left'] : [];
  return exitOf([...results, ...odd], false);
}

/** Root's credentials are not for an endpoint that another user has chosen. */
function requireOwnEndpoint(
  options: DeregisterOptions,
  { path, owner }: { readonly path: string; readonly owner: number },
): void {
  const { endpoints, userTokenFile, dataplaneTokenFile, clientKeyFile } = options;
  const credential = userTokenFile ?? dataplaneTokenFile ?? clientKeyFile;
  if (endpoints.length > 0 || credential === undefined) return;
  throw new OperationalError(
    'CONFIG_INVALID',
    `Cannot show "${credential}" to the endpoint that "${path}" names: uid ${owner} chose it. Name the --endpoint as well`,
  );
}

function readAll(files: readonly string[]): {
  readonly found: readonly FoundRun[];
  readonly unreadable: number;
} {
  const found: FoundRun[] = [];
  let unreadable = 0;
  for (const path of files) {
    try {
      requireTrusted(path);
      const state = readStateFile(path);
      if (state !== undefined) found.push({ path, state });
    } catch (error) {
      writeError(describeError(error));
      unreadable += 1;
    }
  }
  return { found, unreadable };
}

/** In a folder of root's, root trusts only root's files. */
function requireTrusted(path: string): void {
  const uid = lstatSync(path, { throwIfNoEntry: false })?.uid ?? 0;
  if (process.geteuid?.() !== 0 || uid === 0) return;
  throw new OperationalError(
    'STATE_UNUSABLE',
    `Cannot use state file "${path}": it belongs to uid ${uid}, but its folder does not. Run this as that user`,
  );
}

async function finishFile(path: string, request: Request, refused: Result): Promise<Result> {
  try {
    const state = readStateFile(path);
    if (state !== undefined) return await finish({ path, state }, request, refused);
    writeNotice(`nothing to finish: there is no state file "${path}"`);
    return 'done';
  } catch (error) {
    writeError(describeError(error));
    return 'unreadable';
  }
}

/** @param refused the result for a file of a living run or of another boot. Never throws */
async function finish({ path, state }: FoundRun, request: Request, refused: Result): Promise<Result> {
  const label = describeKey(state.dataplane);
  try {
    const host = linuxHost();
    await outwaitKilled(state, host);
    const takeover = judgeTakeover(state, host);
    if (takeover.verdict === 'done') writeNotice(`${label}: nothing to finish: ${takeover.reason}`);
    if (takeover.verdict === 'refuse') writeError(`${label}: not deregistered: ${takeover.reason}`);
    if (takeover.verdict !== 'deregister') return takeover.verdict === 'done' ? 'done' : refused;
    // The agent tried until its end, a moment ago. Another attempt would only delay a restart.
    if (request.service !== undefined && state.phase === 'ended') {
      writeError(`${label}: not deregistered: its agent tried until it ended`);
      return 'left';
    }
    if (!(await deregister(state, takeover.kumaDp, request))) return 'left';
    // The agent was killed a moment ago: the next start waits until the control plane accepts the name.
    const endedAtUptimeMs = state.endedAtUptimeMs ?? host.uptimeMs();
    await new StateFile(path).write({ ...state, phase: 'ended', deregistered: true, endedAtUptimeMs });
    return 'done';
  } catch (error) {
    writeError(`${label}: ${describeError(error)}`);
    return 'left';
  }
}

async function deregister(state: HostState, kumaDp: 'gone' | 'ending', request: Request): Promise<boolean> {
  const departure = {
    key: state.dataplane,
    own: {
      incarnation: state.incarnation,
      address: state.address,
      unprovenForMs: state.connected === false ? ageMs(state.agent) : undefined,
    },
  };
  const { endpoints, companions } = await endpointsOf(state, request);
  const rest = endpoints.filter((endpoint) => !companions.some((companion) => companion === endpoint));
  return attemptAll(
    request,
    departure,
    [
      // A companion knows whether a newer incarnation has the name; Kuma's REST API can only be looked at.
      { endpoints: companions, take: deregisterOutright },
      { endpoints: rest, take: kumaDp === 'gone' ? takeOver : deregisterOutright },
    ].filter((way) => way.endpoints.length > 0),
  );
}

/** proc(5): start times are ticks since boot, of which Linux tells programs 100 a second. */
function ageMs({ startTicks }: HostState['agent']): number {
  return linuxHost().uptimeMs() - startTicks * 10;
}

/** systemd may start ExecStopPost while an agent that it has killed is still ending. */
function outwaitKilled({ agent }: HostState, host: Host): Promise<void> {
  const byMs = systemClock.monotonicMs() + KILL_PATIENCE_MS;
  return outwait(() => host.isAlive(agent) && host.endsWithUs(agent), {
    clock: systemClock,
    pollMs: KILL_POLL_MS,
    byMs,
  });
}

/** The run's options, overridden by this call's. If the caller names an endpoint, the caller's own rules verify it. */
function endpointsOf(state: HostState, { options, means, trusted }: Request): Promise<OpenEndpoints> {
  const given = options.endpoints.length > 0;
  const urls = given ? options.endpoints : state.endpoints.map(toUrl);
  const ordered = orderEndpoints(urls, { proxyType: state.dataplane.proxyType, fallback: undefined });
  const tokens = tokensOf(state.userTokenFile, { file: state.dataplaneTokenFile, inline: undefined });
  if (means.dataplaneToken === undefined && state.dataplaneTokenFile === undefined)
    warnWithoutToken(ordered.urls);
  return openEndpoints(ordered.urls, {
    // Another user's state file must not decide how root's endpoint is verified.
    tls: tlsOf(
      trusted || !given ? state : { ...state, ca: undefined, caFile: undefined, skipVerify: false },
      means.tls,
    ),
    userToken: means.userToken ?? tokens.userToken,
    dataplaneToken: means.dataplaneToken ?? tokens.dataplaneToken,
  });
}

function tlsOf(state: HostState, given: EndpointTls): EndpointTls {
  return {
    ca: given.ca ?? readIfNamed(state.caFile) ?? state.ca,
    skipVerify: state.skipVerify && given.ca === undefined,
    clientCertificate: given.clientCertificate ?? readIfNamed(state.clientCertificateFile),
    clientKey: given.clientKey ?? readIfNamed(state.clientKeyFile),
  };
}

function toUrl(text: string): URL {
  if (URL.canParse(text)) return new URL(text);
  throw new OperationalError(
    'STATE_UNUSABLE',
    `Cannot use the state file: "${text}" is not the URL of an endpoint`,
  );
}

function exitOf(results: readonly Result[], single: boolean): ChildExit {
  if (single && results.includes('unreadable')) return { code: EXIT_CONFIG, signal: null };
  return { code: results.every((result) => result === 'done') ? 0 : 1, signal: null };
}
