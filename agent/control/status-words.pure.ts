import { formatDuration } from '../../kernel/duration.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import type { AgentStatusReport } from './control-protocol.pure.ts';
import type { HostState } from '../state/host-state.pure.ts';

/** One dataplane of this host: its agent's answer, or its state file. */
export interface DataplaneStatus {
  readonly dataplane: string;
  /** `running`, or a phase of a stop, as its agent says; else `ended`, `lost`, `unreachable`. */
  readonly phase: string;
  readonly lifecycle: string;
  readonly incarnation: string;
  readonly deregistered: boolean;
  readonly rotation: string;
  readonly drainedSince: string | undefined;
  readonly lastStop: HostState['lastStop'];
  /** The report of its agent; `undefined` without an answer. */
  readonly agent: AgentStatusReport | undefined;
  /** Why there is no answer. */
  readonly problem: string | undefined;
}

export interface Asked {
  readonly alive: boolean;
  readonly agent: AgentStatusReport | undefined;
  readonly problem: string | undefined;
}

/** Combines a state file with the agent's own answer, if any. */
export function judgeStatus(state: HostState, { alive, agent, problem }: Asked): DataplaneStatus {
  const drain = state.rotation?.wanted === 'out' ? state.rotation : undefined;
  return {
    dataplane: describeKey(state.dataplane),
    phase: agent?.phase ?? (alive ? 'unreachable' : phaseLeft(state)),
    lifecycle: state.owner,
    incarnation: state.incarnation,
    deregistered: state.deregistered,
    rotation: agent?.rotation ?? (drain === undefined ? 'in' : 'out'),
    drainedSince: drain?.since,
    lastStop: state.lastStop,
    agent,
    problem: alive ? problem : undefined,
  };
}

function phaseLeft({ phase, deregistered }: HostState): 'ended' | 'lost' {
  return phase === 'ended' && deregistered ? 'ended' : 'lost';
}

/** A status as lines for a person. */
export function statusLines(status: DataplaneStatus): readonly string[] {
  const { dataplane, lifecycle, agent } = status;
  const rows: readonly (readonly [string, string])[] = [
    ['phase', phaseWords(status)],
    ['lifecycle', lifecycle],
    ...(status.problem === undefined ? [] : [['agent', status.problem] as const]),
    ...(agent?.hold === undefined ? [] : [['drain', agent.hold] as const]),
    ...rotationRow(status),
    ...(agent === undefined ? [] : agentRows(agent)),
    ['last stop', lastStopWords(status.lastStop)],
  ];
  return [dataplane, ...rows.map(([label, value]) => `  ${label.padEnd(10)} ${value}`)];
}

function phaseWords({ phase, agent, deregistered }: DataplaneStatus): string {
  switch (phase) {
    case 'ended':
      return 'ended, deregistered';
    case 'lost':
      return deregistered
        ? 'its agent died after it had deregistered'
        : 'its agent is gone and its object may exist: run kuma-dp-agent deregister --state';
    case 'unreachable':
      return 'its agent runs but does not answer';
    default: {
      const { upMs = 0, standby = false, envoy = false } = agent ?? {};
      const what = standby ? `${phase}, on standby since SIGUSR2` : phase;
      return `${what} for ${formatDuration(Math.round(upMs / 1_000) * 1_000)}${envoy ? '' : ', no Envoy yet'}`;
    }
  }
}

function rotationRow({ rotation, drainedSince }: DataplaneStatus): readonly (readonly [string, string])[] {
  if (rotation === 'in') return [];
  return [['rotation', drainedSince === undefined ? rotation : `${rotation}, drained at ${drainedSince}`]];
}

function agentRows(agent: AgentStatusReport): readonly (readonly [string, string])[] {
  const { endpoints, companion, settleMs } = agent;
  const epoch = companion?.epoch === undefined ? '' : `, epoch ${companion.epoch}`;
  return [
    ...endpoints.map(({ url, reachable }) => ['endpoint', `${url}: ${reachability(reachable)}`] as const),
    ...(companion === undefined
      ? []
      : [['companion', `${companion.attached ? 'attached' : 'not attached'}${epoch}`] as const]),
    ['settle', formatDuration(settleMs)],
  ];
}

function reachability(reachable: boolean | undefined): string {
  return reachable === undefined ? 'not asked yet' : reachable ? 'answers' : 'does not answer';
}

function lastStopWords(last: HostState['lastStop']): string {
  if (last === undefined) return 'none since boot';
  const { stoppedAt, cause, totalMs, outcome, exit } = last;
  return `${stoppedAt}, ${cause}: ${outcome}, ${formatDuration(Math.round(totalMs))}, ${exit}`;
}
