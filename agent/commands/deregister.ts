import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';

import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { linuxHost } from '../adapters/host.ts';
import { lineOutput } from '../adapters/line-output.ts';
import { pinoLog } from '../adapters/pino-log.ts';
import { writeError } from '../adapters/standard-streams.ts';
import { readStateFile, StateFile } from '../adapters/state-file.ts';
import { EXIT_CONFIG, type ChildExit } from '../core/exit-status.ts';
import { judgeTakeover, type HostState } from '../core/host-state.ts';
import { agentEvents } from '../events.ts';
import type { DeregisterOptions } from '../options.ts';
import type { Departure, Endpoint } from '../ports.ts';
import { Registration } from '../registration.ts';
import { openEndpoints, readTls } from './connection.ts';

const OK: ChildExit = { code: 0, signal: null };
const FAILED: ChildExit = { code: 1, signal: null };
const INVALID: ChildExit = { code: EXIT_CONFIG, signal: null };

/** One attempt to take a dataplane away, by its name or by what a killed agent left. Idempotent. */
export async function deregister(options: DeregisterOptions): Promise<ChildExit> {
  try {
    return options.state === undefined ? await byName(options) : await byState(options.state, options);
  } catch (error) {
    writeError(describeError(error));
    return INVALID;
  }
}

function byName(options: DeregisterOptions): Promise<ChildExit> {
  const { name = '', mesh = '', proxyType, endpoints, userTokenFile } = options;
  const key = { proxyType, mesh, name };
  // Somebody who names the object means that one: only another agent's label speaks against it.
  const departure = { key, own: { incarnation: randomUUID(), address: undefined } };
  return attempt(
    options,
    openEndpoints(endpoints, { tls: readTls(options, undefined), userTokenFile }),
    departure,
  );
}

async function byState(path: string, options: DeregisterOptions): Promise<ChildExit> {
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
    return takeover.verdict === 'done' ? OK : FAILED;
  }
  const departure = {
    key: state.dataplane,
    own: { incarnation: state.incarnation, address: state.address },
  };
  const exit = await attempt(options, endpointsOf(state, options), departure);
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

async function attempt(
  options: DeregisterOptions,
  endpoints: readonly Endpoint[],
  departure: Departure,
): Promise<ChildExit> {
  const events = agentEvents(pinoLog(lineOutput(process.stderr.fd), options.logLevel));
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
    const result = await registration.deregister(systemClock.monotonicMs() + options.timeoutMs);
    events.deregistered(result);
    if (result.outcome === 'gone') return OK;
    writeError(`${describeKey(departure.key)} was not deregistered: ${result.reason}`);
    return FAILED;
  } finally {
    registration.close();
  }
}

function readIfNamed(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readFileSync(path, 'utf8');
}
