import { readFileSync } from 'node:fs';

import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { linuxHost } from '../adapters/host.ts';
import { lineOutput } from '../adapters/line-output.ts';
import { pinoLog } from '../adapters/pino-log.ts';
import { STANDARD_ERROR_FD, writeError } from '../adapters/standard-streams.ts';
import { listStateFiles } from '../adapters/state-directory.ts';
import { readStateFile, StateFile } from '../adapters/state-file.ts';
import { EXIT_CONFIG, type ChildExit } from '../core/exit-status.ts';
import { judgeTakeover, type HostState } from '../core/host-state.ts';
import type { Deregistration } from '../core/stop-report.ts';
import { agentEvents } from '../events.ts';
import type { DeregisterOptions } from '../options.ts';
import type { Departure, Endpoint } from '../ports.ts';
import { Registration } from '../registration.ts';
import { openEndpoints, readTls } from './connection.ts';

const OK: ChildExit = { code: 0, signal: null };
const FAILED: ChildExit = { code: 1, signal: null };
const INVALID: ChildExit = { code: EXIT_CONFIG, signal: null };

/** One attempt to take a dataplane away, by its name or by what killed agents left. Idempotent. */
export async function deregister(options: DeregisterOptions): Promise<ChildExit> {
  try {
    return await (options.state === undefined ? byName(options) : byStates(options.state, options));
  } catch (error) {
    writeError(describeError(error));
    return INVALID;
  }
}

/** A folder stands for every state file in it; what others still look after is then no failure. */
async function byStates(path: string, options: DeregisterOptions): Promise<ChildExit> {
  const files = listStateFiles(path);
  if (files === undefined) return byState(path, options);
  const exits: ChildExit[] = [];
  for (const file of files) exits.push(await byState(file, options, OK));
  return exits.find((exit) => exit !== OK) ?? OK;
}

function byName(options: DeregisterOptions): Promise<ChildExit> {
  const { name = '', mesh = '', proxyType, endpoints, userTokenFile } = options;
  const key = { proxyType, mesh, name };
  // Whoever names the object means it, whoever put it and wherever it listens.
  const departure = { key, own: { incarnation: undefined, address: undefined } };
  return attempt(options, {
    endpoints: openEndpoints(endpoints, { tls: readTls(options, undefined), userTokenFile }),
    departure,
    take: (registration, byMs) => registration.deregister(byMs),
  });
}

/** @param refused how to end where the file speaks of somebody who lives, or of another boot */
async function byState(path: string, options: DeregisterOptions, refused = FAILED): Promise<ChildExit> {
  const state = readStateFile(path);
  if (state === undefined) {
    writeError(`nothing to finish: there is no state file "${path}"`);
    return OK;
  }
  const takeover = judgeTakeover(state, linuxHost());
  if (takeover.verdict !== 'deregister') {
    writeError(
      `${takeover.verdict === 'done' ? 'nothing to finish' : 'not deregistered'}: ${takeover.reason}`,
    );
    return takeover.verdict === 'done' ? OK : refused;
  }
  const departure = {
    key: state.dataplane,
    own: { incarnation: state.incarnation, address: state.address },
  };
  const exit = await attempt(options, { endpoints: endpointsOf(state, options), departure, take: takeOver });
  if (exit === OK) await new StateFile(path).write({ ...state, phase: 'ended', deregistered: true });
  return exit;
}

/** What the run was told, unless this call is told otherwise. */
function endpointsOf(state: HostState, options: DeregisterOptions): readonly Endpoint[] {
  const given = readTls(options, undefined);
  const tls = {
    ca: given.ca ?? state.ca,
    skipVerify: state.skipVerify && given.ca === undefined,
    clientCertificate: given.clientCertificate ?? readIfNamed(state.clientCertificateFile),
    clientKey: given.clientKey ?? readIfNamed(state.clientKeyFile),
  };
  const urls = options.endpoints.length > 0 ? options.endpoints : state.endpoints.map((url) => new URL(url));
  return openEndpoints(urls, { tls, userTokenFile: options.userTokenFile ?? state.userTokenFile });
}

interface Attempt {
  readonly endpoints: readonly Endpoint[];
  readonly departure: Departure;
  readonly take: (registration: Registration, byMs: number) => Promise<Deregistration>;
}

async function attempt(
  options: DeregisterOptions,
  { endpoints, departure, take }: Attempt,
): Promise<ChildExit> {
  const events = agentEvents(pinoLog(lineOutput(STANDARD_ERROR_FD), options.logLevel));
  const registration = new Registration({
    clock: systemClock,
    events,
    random: Math.random,
    endpoints,
    departure,
    mayDelete: true,
    settle: 'auto',
  });
  try {
    const result = await take(registration, systemClock.monotonicMs() + options.timeoutMs);
    events.deregistered(result);
    if (result.outcome === 'gone') return OK;
    writeError(`${describeKey(departure.key)} was not deregistered: ${result.reason}`);
    return FAILED;
  } finally {
    registration.close();
  }
}

/** Nobody of that run is there to ask, so only what its control plane says proves that it has ended. */
async function takeOver(registration: Registration, byMs: number): Promise<Deregistration> {
  const { outcome, reason = outcome } = await registration.confirm(byMs);
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
