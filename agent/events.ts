import { formatDuration } from '../kernel/duration.ts';
import type { Finding } from '../kernel/findings.ts';
import type { Log } from '../kernel/log.ts';
import { describeFields, roughDuration } from '../kernel/one-line.ts';
import { describeSteps } from '../kernel/stop-words.ts';
import { VERSION } from '../kernel/version.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';
import { describeExit, type ChildExit } from './child/exit-status.pure.ts';
import type { Obstacle } from './identity/wrapping.pure.ts';
import { settleMs } from './object/settle.pure.ts';
import type { HoldCause } from './stop/hold.pure.ts';
import type { Confirmed, Deregistration, StopReport } from './stop/stop-report.pure.ts';

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
    ...endEvents(log),
  };
}

function startEvents(log: Log) {
  return {
    agentStarted: (settings: Readonly<Record<string, unknown>>) => {
      const { settle, ...rest } = settings;
      const given = describeFields(typeof settle === 'number' ? { ...rest, settleMs: settle } : settings);
      const what = `kuma-dp-agent ${VERSION} looks after kuma-dp`;
      log.info('agent.started', given === '' ? what : `${what}, with ${given}`, { settings });
    },
    settingIgnored: (problem: string) => {
      log.error('setting.ignored', `${problem}. The default holds until the environment is corrected`);
    },
    optionCut: ({ about, says, remedy }: Finding) => {
      log.warn('option.cut', `${about} ${says}`, { remedy });
    },
    dataplaneDerived: (dataplane: string, fields: Readonly<Record<string, unknown>>) => {
      log.info('dataplane.derived', `This is dataplane ${dataplane}`, { dataplane, ...fields });
    },
    dataplaneUnknown: (problem: string) => {
      log.warn('dataplane.unknown', `kuma-dp runs, but a stop will not take it out of the mesh: ${problem}`);
    },
    templateDoubted: (problem: string) => {
      log.warn(
        'template.doubted',
        `The Dataplane may not be as meant; kuma-dp takes it as it is: ${problem}`,
      );
    },
    startUnpaced: () => {
      log.info('start.unpaced', 'The control plane was restarted and accepts the name: kuma-dp starts now');
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
  };
}

function hostEvents(log: Log) {
  return {
    wrapperInTheWay: ({ program, level, says, remedy }: Obstacle) => {
      const line = `"${program}" stands in front of kuma-dp: it ${says}. Instead: ${remedy}`;
      log.warn('wrapper.obstacle', line, { program, breaks: level === 'breaks' });
    },
    guardMissing: () => {
      log.warn('guard.missing', 'sh was not found: if this agent is killed, kuma-dp lives on without it');
    },
    fileKept: (path: string, err: unknown) => {
      log.warn('file.kept', `Cannot use ${path} as it is now: its last good content stays in force`, {
        err,
        path,
      });
    },
    envoyHidden: (reason: string) => {
      log.warn('envoy.hidden', `A stop will last all of kuma-dp's drain time, even when idle: ${reason}`);
    },
    notificationLost: (problem: string) => {
      log.warn('notification.lost', `systemd does not hear how this service is: ${problem}`);
    },
    metricsServed: (address: string) => {
      log.info('metrics.served', `Prometheus finds /metrics at ${address}`, { address });
    },
    metricsUnavailable: (address: string, err: unknown) => {
      const what = `There are no metrics at ${address}; everything else works`;
      log.warn('metrics.unavailable', what, { address, err });
    },
    countsForgotten: (err: unknown) => {
      log.warn('counts.forgotten', 'What was counted does not outlive its run: counters begin at zero', {
        err,
      });
    },
    stateUnreadable: (err: unknown) => {
      log.warn('state.unreadable', 'What the last run left is of no use: no restart pacing this time', {
        err,
      });
    },
    stateUnwritable: (err: unknown) => {
      log.warn('state.unwritable', 'If this agent is killed, its work cannot be finished on this host', {
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
    announcedAgain: () => {
      log.warn(
        'dataplane.announced-again',
        'The object was gone before Envoy served, and was put again: most likely the control plane took away what it had created for the run before',
      );
    },
    announcementFailed: (err: unknown) => {
      const what = 'Peers do not see this dataplane yet: its object cannot be made ready';
      log.warn('announcement.failed', what, { err });
    },
    ownershipGivenUp: (err: unknown) => {
      const what = 'The object could not be put in time: its control plane creates it instead';
      log.warn('ownership.given-up', what, { err });
    },
    objectMended: () => {
      log.warn('dataplane.mended', 'A late write had hidden this dataplane: its object is Ready again');
    },
    dataplaneReady: () => {
      log.info('dataplane.ready', 'Envoy serves and the object says so');
    },
    endpointReached: (url: string, facts: ControlPlaneFacts) => {
      const waitMs = settleMs(facts);
      log.info(
        'endpoint.reached',
        `A stop will deregister at ${url}; peers have let go ${roughDuration(waitMs)} later`,
        { url, version: facts.version, settleMs: waitMs },
      );
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
      const what = `The companion remembers nothing while its store is out of reach: ${url}`;
      log.warn('companion.degraded', what, { url });
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
    nameHeld: (url: string, reason: string) => {
      log.warn('name.held', `No companion looks after this dataplane yet: ${reason}`, { url });
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
      const now = wanted === 'out' ? 'Out of rotation' : 'In rotation again';
      log.info('rotation.turned', found ? `${now}: the object says so` : `${now}: there is no object`, {
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
        { err },
      );
    },
    controlUnavailable: (err: unknown) => {
      log.warn(
        'control.unavailable',
        'drain, resume and status cannot reach this agent; everything else works',
        { err },
      );
    },
  };
}

/** By how often it was asked for. */
const STOP_WORDS = [
  'stopping in order, out of the mesh first',
  'asked again, so the agent stops waiting for peers and requests',
  'asked for the third time, so kuma-dp is killed',
] as const;

function stopEvents(log: Log) {
  return {
    phaseChanged: (from: string, to: string, input: string) => {
      log.debug('phase.changed', `${from} → ${to}`, { from, to, input });
    },
    stopRequested: (signal: NodeJS.Signals, asked: number) => {
      const how = STOP_WORDS[Math.min(asked, 3) - 1];
      log.info('stop.requested', `${signal}: ${how}`, { signal, ...(asked > 1 ? { asked } : {}) });
    },
    signalForwarded: (signal: NodeJS.Signals) => {
      // systemd sends one behind each SIGTERM: it is no news to an operator.
      if (signal === 'SIGCONT') return;
      log.info('signal.forwarded', `${signal} was passed on to kuma-dp`, { signal });
    },
    deregistrationLate: () => {
      log.warn('deregistration.late', 'Not deregistered yet: kuma-dp drains, and the agent keeps trying');
    },
    deregistered: (result: Deregistration & { readonly dataplane?: string }) => {
      const { outcome, reason, ...fields } = result;
      if (outcome === 'failed') {
        log.error(
          'deregistration.failed',
          `Still in the mesh: peers send requests until the control plane notices. ${reason}`,
          fields,
        );
      } else if (outcome === 'handed over') {
        log.warn('dataplane.handed-over', `A companion goes on to take the object away: ${reason}`, fields);
      } else if (outcome === 'kept') {
        log.info('dataplane.kept', `The object stays: ${reason}`, fields);
      } else log.info('dataplane.deregistered', `Out of the mesh: the object is gone (${reason})`, fields);
    },
    drainBlind: (reason: string) => {
      log.warn(
        'drain.blind',
        `All of kuma-dp's drain time is waited, since Envoy does not say what it still serves: ${reason}`,
      );
    },
    drainHeld: (words: string, cause: HoldCause) => {
      log.info('drain.held', `Envoy goes on: ${words}`, { cause });
    },
    childExited: (exit: ChildExit) => {
      log.info('child.exited', `kuma-dp ended with ${describeExit(exit)}`, { exit });
    },
  };
}

function endEvents(log: Log) {
  return {
    confirmed: (confirmed: Confirmed) => {
      if (confirmed.outcome === 'gone') return;
      const { outcome, reason } = confirmed;
      if (outcome === 'deleted again') {
        log.info('recreation.undone', 'A control plane had created the object again: it is deleted');
      } else log.warn('recreation.doubted', `Cannot confirm that the object is gone: ${reason ?? outcome}`);
    },
    stopReported: (report: StopReport) => {
      const { totalMs, budgetMs, cause, steps } = report;
      const took = `${roughDuration(totalMs)} (${cause}; budget ${formatDuration(budgetMs)})`;
      log.info('stop.reported', `Stopped in ${took}: ${describeSteps(steps)}`, { report });
    },
    reportUnwritable: (err: unknown) => {
      log.warn('report.unwritable', 'The stop report is in this log only', { err });
    },
    failedUnexpectedly: (err: unknown) => {
      log.error('agent.failed', 'A bug in the agent; the stop goes on without this step', { err });
    },
  };
}
