import { readFileSync } from 'node:fs';

import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { linuxHost, outwait, type Host } from '../state/host.io.ts';
import { writeError, writeNotice } from '../child/standard-streams.io.ts';
import { listStateFiles } from '../state/state-directory.io.ts';
import { readStateFile, StateFile } from '../state/state-file.io.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { isCompanion, orderEndpoints } from '../object/endpoint-url.pure.ts';
import { judgeTakeover, type HostState } from '../state/host-state.pure.ts';
import type { Deregistration } from '../stop/stop-report.pure.ts';
import { agentEvents, type AgentEvents } from '../events.ts';
import type { DeregisterOptions } from '../options.ts';
import type { Departure, Endpoint } from '../ports.ts';
import { Endpoints } from '../object/endpoints.ts';
import { ObjectKeeper } from '../object/keeper.ts';
import { agentLog } from './agent-log.ts';
import { openEndpoints, readTls, type OpenEndpoints } from '../run/connection.ts';

const OK: ChildExit = { code: 0, signal: null };
const FAILED: ChildExit = { code: 1, signal: null };
const INVALID: ChildExit = { code: EXIT_CONFIG, signal: null };

type Environment = Readonly<Record<string, string | undefined>>;

interface Request {
  readonly options: DeregisterOptions;
  readonly events: AgentEvents;
}

/** One attempt to take a dataplane away, by its name or by what killed agents left. Idempotent. */
export async function deregister(options: DeregisterOptions, env: Environment): Promise<ChildExit> {
  try {
    const request = { options, events: agentEvents(await agentLog(options, env)) };
    return await (options.state === undefined ? byName(request) : byStates(options.state, request));
  } catch (error) {
    writeError(describeError(error));
    return INVALID;
  }
}

/** A folder stands for every state file in it; what others still look after is then no failure. */
async function byStates(path: string, request: Request): Promise<ChildExit> {
  const files = listStateFiles(path);
  if (files === undefined) return byState(path, request);
  const exits: ChildExit[] = [];
  for (const file of files) exits.push(await byState(file, request, OK));
  return exits.find((exit) => exit !== OK) ?? OK;
}

async function byName(request: Request): Promise<ChildExit> {
  const { options } = request;
  const { name = '', mesh = '', proxyType, userTokenFile, dataplaneTokenFile: file } = options;
  const key = { proxyType, mesh, name };
  const { urls } = orderEndpoints(options.endpoints, { proxyType, fallback: undefined });
  if (file === undefined) warnWithoutToken(urls);
  const { endpoints } = await openEndpoints(urls, {
    tls: readTls(options, undefined),
    userTokenFile,
    dataplaneToken: { file, inline: undefined },
  });
  // Whoever names the object means it, whoever put it and wherever it listens.
  const departure = { key, own: { incarnation: undefined, address: undefined } };
  return attemptAll(request, departure, [{ endpoints, take: deregisterOutright }]);
}

/** @param refused how to end where the file speaks of somebody who lives, or of another boot */
async function byState(path: string, request: Request, refused = FAILED): Promise<ChildExit> {
  const state = readStateFile(path);
  if (state === undefined) {
    writeNotice(`nothing to finish: there is no state file "${path}"`);
    return OK;
  }
  const host = linuxHost();
  await outwaitKilled(state, host);
  const takeover = judgeTakeover(state, host);
  if (takeover.verdict !== 'deregister') {
    const label = describeKey(state.dataplane);
    if (takeover.verdict === 'done') writeNotice(`${label}: nothing to finish: ${takeover.reason}`);
    else writeError(`${label}: not deregistered: ${takeover.reason}`);
    return takeover.verdict === 'done' ? OK : refused;
  }
  const departure = {
    key: state.dataplane,
    own: { incarnation: state.incarnation, address: state.address },
  };
  const { endpoints, companions } = await endpointsOf(state, request.options);
  const rest = endpoints.filter((endpoint) => !companions.some((companion) => companion === endpoint));
  const exit = await attemptAll(
    request,
    departure,
    [
      // A companion knows whether a newer incarnation has the name; Kuma's REST API can only be looked at.
      { endpoints: companions, take: deregisterOutright },
      { endpoints: rest, take: takeover.kumaDp === 'gone' ? takeOver : deregisterOutright },
    ].filter((way) => way.endpoints.length > 0),
  );
  if (exit === OK) {
    // It was killed a moment ago: the next start waits until its control plane accepts the name again.
    const endedAtUptimeMs = state.endedAtUptimeMs ?? host.uptimeMs();
    await new StateFile(path).write({ ...state, phase: 'ended', deregistered: true, endedAtUptimeMs });
  }
  return exit;
}

/** More than a kill takes, and less than a service manager waits for its ExecStopPost. */
const KILL_PATIENCE_MS = 2_000;
const KILL_POLL_MS = 20;

/** systemd may start ExecStopPost while an agent that it has killed is still ending. */
function outwaitKilled({ agent }: HostState, host: Host): Promise<void> {
  const byMs = systemClock.monotonicMs() + KILL_PATIENCE_MS;
  return outwait(() => host.isAlive(agent) && host.endsWithUs(agent), {
    clock: systemClock,
    pollMs: KILL_POLL_MS,
    byMs,
  });
}

/** What the run was told, unless this call is told otherwise. */
function endpointsOf(state: HostState, options: DeregisterOptions): Promise<OpenEndpoints> {
  const given = readTls(options, undefined);
  const tls = {
    ca: given.ca ?? state.ca,
    skipVerify: state.skipVerify && given.ca === undefined,
    clientCertificate: given.clientCertificate ?? readIfNamed(state.clientCertificateFile),
    clientKey: given.clientKey ?? readIfNamed(state.clientKeyFile),
  };
  const urls = options.endpoints.length > 0 ? options.endpoints : state.endpoints.map((url) => new URL(url));
  const ordered = orderEndpoints(urls, { proxyType: state.dataplane.proxyType, fallback: undefined });
  const file = options.dataplaneTokenFile ?? state.dataplaneTokenFile;
  if (file === undefined) warnWithoutToken(ordered.urls);
  return openEndpoints(ordered.urls, {
    tls,
    userTokenFile: options.userTokenFile ?? state.userTokenFile,
    dataplaneToken: { file, inline: undefined },
  });
}

/** A token that kuma-dp was given inline was never written down, by us. */
function warnWithoutToken(urls: readonly URL[]): void {
  if (!urls.some(isCompanion)) return;
  writeError('no dataplane token: a companion will hardly do it without (--dataplane-token-file)');
}

interface Way {
  readonly endpoints: readonly Endpoint[];
  readonly take: (keeper: ObjectKeeper, byMs: number) => Promise<Deregistration>;
}

/** One way after the other, as long as nobody has decided; the time is divided among those that are left. */
async function attemptAll(
  { options, events }: Request,
  departure: Departure,
  ways: readonly Way[],
): Promise<ChildExit> {
  const endsAtMs = systemClock.monotonicMs() + options.timeoutMs;
  let result: Deregistration | undefined;
  for (const [at, way] of ways.entries()) {
    const nowMs = systemClock.monotonicMs();
    const byMs = nowMs + Math.max(0, endsAtMs - nowMs) / (ways.length - at);
    result = await attempt(way, { departure, events, byMs });
    if (result.outcome !== 'failed') break;
  }
  if (result === undefined) return FAILED;
  const dataplane = describeKey(departure.key);
  if (result.outcome === 'kept') writeError(`${dataplane} was not deregistered: ${result.reason}`);
  else events.deregistered({ ...result, dataplane });
  return result.outcome === 'gone' || result.outcome === 'handed over' ? OK : FAILED;
}

async function attempt(
  { endpoints, take }: Way,
  {
    departure,
    events,
    byMs,
  }: { readonly departure: Departure; readonly events: AgentEvents; readonly byMs: number },
): Promise<Deregistration> {
  const shared = { clock: systemClock, events, random: Math.random };
  const keeper = new ObjectKeeper({
    ...shared,
    endpoints: new Endpoints({ ...shared, endpoints, key: departure.key, settle: 'auto' }),
    departure,
    template: undefined,
    mayDelete: true,
  });
  try {
    return await take(keeper, byMs);
  } finally {
    keeper.close();
  }
}

function deregisterOutright(keeper: ObjectKeeper, byMs: number): Promise<Deregistration> {
  return keeper.deregister(byMs);
}

/** Nobody of that run is there to ask, so only what its control plane says proves that it has ended. */
async function takeOver(keeper: ObjectKeeper, byMs: number): Promise<Deregistration> {
  const { outcome, reason = outcome } = await keeper.confirm(byMs);
  const details = { endpoint: undefined, attempts: 1 };
  switch (outcome) {
    case 'gone':
      return { outcome: 'gone', reason: 'already gone', ...details };
    case 'deleted again':
      return { outcome: 'gone', reason: 'deleted', ...details };
    case 'left':
      return { outcome: 'kept', reason, ...details };
    case 'unknown':
      return { outcome: 'failed', reason, ...details };
  }
}

function readIfNamed(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readFileSync(path, 'utf8');
}
