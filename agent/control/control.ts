import { VERSION } from '../../kernel/version.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { ControlSocket, openControlSocket } from './control-socket.io.ts';
import type { CompanionAttachment } from '../companion/attachment.ts';
import {
  socketPathOf,
  type AgentStatusReport,
  type ControlAnswer,
  type ControlRequest,
} from './control-protocol.pure.ts';
import type { Phase } from '../stop/phases.pure.ts';
import type { AgentEvents } from '../events.ts';
import type { Endpoints } from '../object/endpoints.ts';
import type { Rotation } from '../object/rotation.ts';

export interface ControlDeps {
  readonly openSocket: typeof openControlSocket;
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly stateFile: string;
  readonly label: string;
  readonly incarnation: string;
  readonly lifecycle: string;
  readonly beganAtMs: number;
  readonly endpoints: Endpoints;
  readonly attachment: CompanionAttachment | undefined;
  /** `undefined` for the zone proxies: their objects have no state to change. */
  readonly rotation: Rotation | undefined;
  readonly phase: () => Phase;
  /** What a drain waits for, in words. */
  readonly hold: () => string | undefined;
  readonly kumaDpPid: () => number | undefined;
}

/** Answers on the run's control socket. Without a socket the agent warns and continues. */
export async function openControl(deps: ControlDeps): Promise<ControlSocket | undefined> {
  const { clock, events, openSocket, stateFile } = deps;
  try {
    return await openSocket({
      clock,
      path: socketPathOf(stateFile),
      answer: (request, gone) => answer(deps, request, gone),
    });
  } catch (error) {
    events.controlUnavailable(error);
    return undefined;
  }
}

async function answer(deps: ControlDeps, request: ControlRequest, gone: AbortSignal): Promise<ControlAnswer> {
  if (request.ask === 'status') return { v: 1, answer: 'status', status: statusOf(deps) };
  const { rotation } = deps;
  const refusal = refuse(deps);
  if (refusal !== undefined) return { v: 1, answer: 'rotation', changed: false, ...refusal };
  if (rotation === undefined) {
    const detail = 'a zone proxy cannot leave the rotation: stop it instead';
    return { v: 1, answer: 'rotation', outcome: 'refused', changed: false, detail };
  }
  const { wait, timeoutMs } = request;
  const wanted = request.ask === 'drain' ? 'out' : 'in';
  return { v: 1, answer: 'rotation', ...(await rotation.change({ wanted, wait, timeoutMs, cancel: gone })) };
}

function refuse({
  phase,
}: ControlDeps): { readonly outcome: 'refused' | 'stopping'; readonly detail: string } | undefined {
  const now = phase();
  switch (now.name) {
    case 'running':
      return now.standby === 'no'
        ? undefined
        : {
            outcome: 'refused',
            detail: 'it is on standby since SIGUSR2: its object is deleted and does not come back',
          };
    case 'starting':
      return { outcome: 'refused', detail: 'kuma-dp has not been started yet' };
    case 'deregistering':
    case 'settling':
    case 'draining':
    case 'exiting':
    case 'confirming':
    case 'stopped':
      return { outcome: 'stopping', detail: 'stopping: the dataplane leaves for good' };
  }
}

function statusOf(deps: ControlDeps): AgentStatusReport {
  const { clock, endpoints, attachment, rotation, label, incarnation, lifecycle } = deps;
  const phase = deps.phase();
  return {
    phase: phase.name,
    standby: phase.name === 'running' && phase.standby !== 'no',
    label,
    incarnation,
    lifecycle,
    version: VERSION,
    upMs: Math.round(clock.monotonicMs() - deps.beganAtMs),
    kumaDpPid: deps.kumaDpPid(),
    envoy: phase.name !== 'starting' && (phase.name !== 'running' || phase.envoy),
    endpoints: endpoints.looks.map(({ url, reachable }) => ({ url, reachable })),
    companion: attachment === undefined ? undefined : attachment.standing,
    settleMs: endpoints.settleMs,
    rotation: rotation?.stage ?? 'in',
    since: rotation?.since,
    hold: deps.hold(),
  };
}
