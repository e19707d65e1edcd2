import { join } from 'node:path';

import { describeError } from '../../kernel/errors.ts';
import { linuxHost, outwait, type Host } from '../state/host.io.ts';
import { StateFile } from '../state/state-file.io.ts';
import { stateFileName, type HostState } from '../state/host-state.pure.ts';
import type { Owner } from '../identity/owner.pure.ts';
import { paceStart } from './pace-start.ts';
import { STOP_WISHES } from '../stop/stop-budget.pure.ts';
import type { AgentEvents } from '../events.ts';
import { claimName } from '../object/claim-name.ts';
import { tryConnect, type Connected, type PrepareContext } from './connect.ts';
import { readTls, type EndpointTls } from './connection.ts';
import { deriveDataplane, type DerivedDataplane } from '../identity/derive.io.ts';
import { inherited, readPrevious, stateAtStart } from './initial-state.ts';
import type { RunRequest } from './run-request.ts';

/** A run's dataplane, once all steps before the start of kuma-dp are done. */
export interface PreparedDataplane
  extends DerivedDataplane, Pick<Connected, 'endpoints' | 'keeper' | 'attachment' | 'witness'> {
  readonly owner: Owner;
  readonly stateFile: StateFile;
  readonly host: Host;
  readonly initialState: HostState;
}

const PREDECESSOR_POLL_MS = 100;

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
