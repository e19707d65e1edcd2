import type { Log } from '../kernel/log.ts';
import { formatDuration } from '../kernel/duration.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';
import { describeExit, type ChildExit } from './core/exit-status.ts';
import { settleMs } from './core/propagation.ts';
import type { Confirmed, Deregistration, StopReport } from './core/stop-report.ts';

/** Every log line of the agent. docs/events.md lists them; a contract test compares the two. */
export type AgentEvents = ReturnType<typeof agentEvents>;

export function agentEvents(log: Log) {
  return {
    ...startEvents(log),
    ...objectEvents(log),
    ...companionEvents(log),
    ...rotationEvents(log),
    ...hostEvents(log),
    ...stopEvents(log),
  };
}

function startEvents(log: Log) {
  return {
    agentStarted: (settings: Readonly<Record<string, unknown>>) => {
      log.info('agent.started', 'The agent is between the host and kuma-dp', { settings });
    },
    dataplaneDerived: (dataplane: string, fields: Readonly<Record<string, unknown>>) => {
      log.info('dataplane.derived', `Dataplane ${dataplane}`, { dataplane, ...fields });
    },
    dataplaneUnknown: (problem: string) => {
      log.warn('dataplane.unknown', `kuma-dp runs, but it will not be deregistered at a stop: ${problem}`);
    },
    templateDoubted: (problem: string) => {
      log.warn('template.doubted', `kuma-dp decides about the Dataplane: ${problem}`);
    },
    startPaced: (waitMs: number) => {
      log.info(
        'start.paced',
        `Waiting ${formatDuration(waitMs)}: the control plane refuses this name until its last stream has been forgotten`,
        { waitMs },
      );
    },
    predecessorDrains: (pid: number) => {
      log.warn(
        'predecessor.drains',
        'The last agent was killed: kuma-dp is started when the one that it left has drained',
        { pid },
      );
    },
    childSpawned: (pid: number, argv: readonly string[]) => {
      log.info('child.spawned', 'kuma-dp was started', { pid, command: argv[0] });
    },
    spawnFailed: (problem: string) => {
      log.error('spawn.failed', problem);
    },
  };
}

function hostEvents(log: Log) {
  return {
    guardMissing: () => {
      log.warn('guard.missing', 'sh was not found: if this agent is killed, kuma-dp lives on without it');
    },
    envoyHidden: (reason: string) => {
      log.warn('envoy.hidden', `A stop will last kuma-dp's own drain time: ${reason}`);
    },
    notificationLost: (problem: string) => {
      log.warn('notification.lost', `systemd does not hear how this service is: ${problem}`);
    },
    stateUnreadable: (err: unknown) => {
      log.warn('state.unreadable', 'What the last run left is of no use: no restart pacing this time', {
        err,
      });
    },
    stateUnwritable: (err: unknown) => {
      log.warn('state.unwritable', 'If this agent is killed, nobody on this host can finish its work', {
        err,
      });
    },
  };
}

function objectEvents(log: Log) {
  return {
    dataplaneAnnounced: () => {
      log.info('dataplane.announced', 'The agent owns the object; peers see it once Envoy serves');
    },
    announcementFailed: (err: unknown) => {
      log.warn('announcement.failed', 'The object could not be put', { err });
    },
    ownershipGivenUp: (err: unknown) => {
      log.warn(
        'ownership.given-up',
        'The object could not be put in time: its control plane creates it instead',
        {
          err,
        },
      );
    },
    dataplaneReady: () => {
      log.info('dataplane.ready', 'Envoy serves and the object says so');
    },
    endpointReached: (url: string, facts: ControlPlaneFacts) => {
      log.info('endpoint.reached', `A stop will deregister at ${url}`, {
        url,
        version: facts.version,
        settleMs: settleMs(facts),
      });
    },
    endpointLost: (url: string, err: unknown) => {
      log.warn('endpoint.lost', `A stop now could not deregister at ${url}`, { url, err });
    },
  };
}

function companionEvents(log: Log) {
  return {
    companionAttached: (url: string, epoch: number) => {
      log.info('companion.attached', `A companion watches over this dataplane: ${url}`, { url, epoch });
    },
    companionDegraded: (url: string) => {
      log.warn(
        'companion.degraded',
        `The companion remembers nothing while its store is out of reach: ${url}`,
        {
          url,
        },
      );
    },
    companionRedirected: (url: string, reason: string) => {
      log.info('companion.redirected', `Attaching elsewhere than ${url}: ${reason}`, { url });
    },
    companionLost: (url: string, err: unknown) => {
      log.warn('companion.lost', `No companion watches over this dataplane now: ${url}`, { url, err });
    },
    companionMissed: (budgetMs: number) => {
      log.warn(
        'companion.missed',
        `kuma-dp starts without an epoch: no companion gave one within ${formatDuration(Math.round(budgetMs))}`,
        { budgetMs },
      );
    },
    companionsBypassed: (dataplane: string) => {
      log.info('companion.bypassed', `Companions do not look after zone proxies: ${dataplane} goes without`);
    },
    nameSuperseded: (url: string, err: unknown) => {
      log.warn('name.superseded', 'A newer incarnation has the name of this dataplane; kuma-dp goes on', {
        url,
        err,
      });
    },
  };
}

function rotationEvents(log: Log) {
  return {
    rotationWanted: (wanted: 'out' | 'in') => {
      const what = wanted === 'out' ? 'drain: out of rotation, until resume' : 'resume: back into rotation';
      log.info('rotation.requested', `Asked to ${what}`, { wanted });
    },
    rotationTurned: (wanted: 'out' | 'in', found: boolean) => {
      const now = wanted === 'out' ? 'out of rotation' : 'in rotation again';
      log.info('rotation.turned', found ? `The object says: ${now}` : `There is no object: ${now}`, {
        wanted,
      });
    },
    rotationFailed: (wanted: 'out' | 'in', err: unknown) => {
      const what = wanted === 'out' ? 'taken out of rotation' : 'put back into rotation';
      log.warn('rotation.failed', `The dataplane cannot be ${what}; the agent goes on trying`, {
        wanted,
        err,
      });
    },
    healthcheckUntold: (err: unknown) => {
      log.warn(
        'healthcheck.untold',
        "Envoy's own health could not be set: Kuma's health checks may undo this",
        {
          err,
        },
      );
    },
    controlUnavailable: (err: unknown) => {
      log.warn(
        'control.unavailable',
        'drain, resume and status cannot reach this agent; everything else works',
        {
          err,
        },
      );
    },
  };
}

function stopEvents(log: Log) {
  return {
    phaseChanged: (from: string, to: string, input: string) => {
      log.debug('phase.changed', `${from} → ${to}`, { from, to, input });
    },
    stopRequested: (signal: NodeJS.Signals, asked: number) => {
      const how = ['in order', 'without waiting', 'at once'][Math.min(asked, 3) - 1];
      log.info('stop.requested', `${signal}: stopping ${how}`, { signal, asked });
    },
    signalForwarded: (signal: NodeJS.Signals) => {
      log.info('signal.forwarded', `${signal} was passed on to kuma-dp`, { signal });
    },
    deregistered: (result: Deregistration) => {
      const { outcome, reason, ...fields } = result;
      if (outcome === 'failed') {
        log.error('deregistration.failed', `Peers keep this dataplane for now: ${reason}`, fields);
      } else if (outcome === 'handed over') {
        log.warn('dataplane.handed-over', `A companion goes on to take the object away: ${reason}`, fields);
      } else if (outcome === 'kept') {
        log.info('dataplane.kept', `The object stays: ${reason}`, fields);
      } else log.info('dataplane.deregistered', `The object is gone: ${reason}`, fields);
    },
    drainBlind: (reason: string) => {
      log.warn('drain.blind', `kuma-dp's own drain time holds: ${reason}`);
    },
    childExited: (exit: ChildExit) => {
      log.info('child.exited', `kuma-dp ended with ${describeExit(exit)}`, { exit });
    },
    confirmed: (confirmed: Confirmed) => {
      if (confirmed.outcome === 'gone') return;
      const { outcome, reason } = confirmed;
      const text = reason === undefined ? outcome : `${outcome}: ${reason}`;
      if (outcome === 'deleted again')
        log.info('recreation.undone', 'The object had been created again: deleted');
      else log.warn('recreation.doubted', `Whether the object is still gone is not certain: ${text}`);
    },
    stopReported: (report: StopReport) => {
      log.info('stop.reported', `Stopped in ${formatDuration(Math.round(report.totalMs))}`, { report });
    },
    reportUnwritable: (err: unknown) => {
      log.warn('report.unwritable', 'The stop report is in this log only', { err });
    },
    failedUnexpectedly: (err: unknown) => {
      log.error('agent.failed', 'A bug in the agent; the stop goes on without this step', { err });
    },
  };
}
