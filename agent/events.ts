import { formatDuration } from '../kernel/duration.ts';
import type { Finding } from '../kernel/findings.ts';
import { witnessEvents } from './witness-events.ts';
import type { Log } from '../kernel/log.ts';
import { describeFields, roughDuration } from '../kernel/one-line.ts';
import { VERSION } from '../kernel/version.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';
import type { Obstacle } from './identity/wrapping.pure.ts';
import { settleMs } from './object/settle.pure.ts';
import { endEvents, stopEvents } from './stop-events.ts';

/** Every log line of the agent. docs/operate/messages.md lists them; a contract test compares the two. */
export type AgentEvents = ReturnType<typeof agentEvents>;

export function agentEvents(log: Log) {
  return {
    ...startEvents(log),
    ...hookEvents(log),
    ...objectEvents(log),
    ...companionEvents(log),
    ...witnessEvents(log),
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
      const what = `kuma-dp-agent ${VERSION} wraps kuma-dp`;
      log.info('agent.started', given === '' ? what : `${what}, with ${given}`, { settings });
    },
    settingIgnored: (problem: string) => {
      log.error(
        'setting.ignored',
        `${problem}. The agent uses the default until the environment is corrected`,
      );
    },
    optionCut: ({ about, says, remedy }: Finding) => {
      log.warn('option.cut', `${about}: ${says}`, { remedy });
    },
    callsRedirected: (says: string, remedy: string) => {
      log.warn('calls.redirected', `A stop may not deregister: ${says}`, { remedy });
    },
    dataplaneDerived: (dataplane: string, fields: Readonly<Record<string, unknown>>) => {
      log.info('dataplane.derived', `This is dataplane ${dataplane}`, { dataplane, ...fields });
    },
    dataplaneUnknown: (problem: string) => {
      log.warn('dataplane.unknown', `kuma-dp runs, but a stop will not deregister it: ${problem}`);
    },
    templateDoubted: (problem: string) => {
      log.warn(
        'template.incomplete',
        `The Dataplane may be incomplete, and kuma-dp uses it as it is: ${problem}`,
      );
    },
    startUnpaced: () => {
      log.info(
        'start.unpaced',
        'The control plane has restarted and accepts the name again: starting kuma-dp now',
      );
    },
    startPaced: (waitMs: number) => {
      log.info(
        'start.paced',
        `Waiting ${formatDuration(waitMs)}: the control plane rejects this name until it has dropped the previous run`,
        { waitMs },
      );
    },
    predecessorDrains: (pid: number) => {
      log.warn(
        'predecessor.drains',
        'The previous agent was killed: waiting for its kuma-dp to drain before starting a new one',
        { pid },
      );
    },
    childSpawned: (pid: number, argv: readonly string[]) => {
      log.info('child.spawned', 'Started kuma-dp', { pid, command: argv[0] });
    },
  };
}

function hostEvents(log: Log) {
  return {
    wrapperInTheWay: ({ program, level, says, remedy }: Obstacle) => {
      const line = `"${program}" wraps kuma-dp: it ${says}. Instead: ${remedy}`;
      log.warn('wrapper.obstacle', line, { program, breaks: level === 'breaks' });
    },
    guardMissing: () => {
      log.warn('guard.missing', 'Cannot find sh: if this agent is killed, kuma-dp keeps running without it');
    },
    fileKept: (path: string, err: unknown) => {
      log.warn('file.kept', `Cannot use the new content of ${path}: using the last good one`, {
        err,
        path,
      });
    },
    envoyHidden: (reason: string) => {
      log.warn(
        'envoy.hidden',
        `Cannot read Envoy's admin interface, so a stop lasts kuma-dp's full drain time, even when idle: ${reason}`,
      );
    },
    notificationLost: (problem: string) => {
      log.warn('notification.lost', `Cannot notify systemd, so the unit does not become active: ${problem}`);
    },
    metricsServed: (address: string) => {
      log.info('metrics.served', `Serving /metrics at ${address}`, { address });
    },
    metricsUnavailable: (address: string, err: unknown) => {
      const what = `Cannot serve metrics at ${address}; everything else works`;
      log.warn('metrics.unavailable', what, { address, err });
    },
    countsForgotten: (err: unknown) => {
      log.warn('counters.reset', 'Cannot save counters: metrics restart at zero', { err });
    },
    stateUnreadable: (err: unknown) => {
      const what = "Cannot read the previous run's state file: starting without restart pacing";
      log.warn('state.unreadable', what, { err });
    },
    stateUnwritable: (err: unknown) => {
      const what =
        'Cannot write the state file: if this agent is killed, ExecStopPost cannot finish its stop';
      log.warn('state.unwritable', what, { err });
    },
  };
}

function hookEvents(log: Log) {
  return {
    hookStarted: (hook: string, limitMs: number) => {
      log.debug('hook.started', `Running the hook --on-${hook}, for at most ${formatDuration(limitMs)}`, {
        hook,
      });
    },
    hookSaid: (hook: string, line: string) => {
      log.info('hook.said', `--on-${hook}: ${line}`, { hook });
    },
    hookDone: (hook: string, tookMs: number) => {
      log.info('hook.done', `The hook --on-${hook} ended after ${formatDuration(tookMs)}`, {
        hook,
        tookMs,
      });
    },
    hookFailed: (hook: string, failure: string, tookMs: number) => {
      log.warn('hook.failed', `The hook --on-${hook} failed: ${failure}. The agent continues`, {
        hook,
        failure,
        tookMs,
      });
    },
  };
}

function objectEvents(log: Log) {
  return {
    dataplaneRegistered: () => {
      log.info('dataplane.registered', 'Registered the object, not ready: peers see it once Envoy serves');
    },
    registeredAgain: () => {
      log.warn(
        'dataplane.registered-again',
        'The object was deleted before Envoy served, and the agent has registered it again. Most likely the control plane deleted what it had created for the previous run',
      );
    },
    readinessFailed: (err: unknown) => {
      const what = 'Cannot mark the object ready: peers do not see this dataplane yet';
      log.warn('readiness.failed', what, { err });
    },
    ownershipGivenUp: (err: unknown) => {
      const what = 'Cannot register the object in time: the control plane creates it instead';
      log.warn('ownership.given-up', what, { err });
    },
    objectMended: () => {
      log.warn(
        'dataplane.mended',
        'A late write had set this dataplane NotReady: the agent has set it Ready again',
      );
    },
    objectUnmarked: () => {
      log.warn(
        'dataplane.restored',
        'A companion had taken this dataplane out of rotation as lost and is not there to put it back: the agent has put it back',
      );
    },
    dataplaneReady: () => {
      log.info('dataplane.ready', 'Envoy serves and the object is ready');
    },
    endpointReached: (url: string, facts: ControlPlaneFacts) => {
      const waitMs = settleMs(facts);
      log.info(
        'endpoint.reached',
        `A stop will deregister at ${url}; peers drop the endpoint within ${roughDuration(waitMs)}`,
        { url, version: facts.version, settleMs: waitMs },
      );
    },
    endpointLost: (url: string, err: unknown) => {
      log.warn('endpoint.lost', `Cannot reach ${url}: a stop now could not deregister there`, { url, err });
    },
  };
}

function companionEvents(log: Log) {
  return {
    companionAttached: (url: string, epoch: number) => {
      log.info('companion.attached', `Attached to companion ${url}`, { url, epoch });
    },
    companionDegraded: (url: string) => {
      const what = `The store of companion ${url} is unavailable: it does not record this agent until the store is back`;
      log.warn('companion.degraded', what, { url });
    },
    companionRedirected: (url: string, reason: string) => {
      log.info('companion.redirected', `Companion ${url} redirects this agent to another one: ${reason}`, {
        url,
      });
    },
    companionResumed: (url: string, epoch: number) => {
      log.debug('companion.resumed', `Attached again at once: the stream to ${url} had ended`, {
        url,
        epoch,
      });
    },
    companionLost: (url: string, err: unknown) => {
      log.warn(
        'companion.lost',
        `Lost companion ${url}: until the agent attaches again, the object stays if this host is lost`,
        { url, err },
      );
    },
    companionMissed: (budgetMs: number) => {
      log.warn(
        'companion.missed',
        `No companion attached this agent within ${formatDuration(Math.round(budgetMs))}: starting kuma-dp now; the agent keeps trying`,
        { budgetMs },
      );
    },
    companionsBypassed: (dataplane: string) => {
      log.info('companion.bypassed', `Companions do not support zone proxies: ${dataplane} runs without one`);
    },
    nameHeld: (url: string, reason: string) => {
      log.warn('name.held', `The companion keeps this agent waiting for its name: ${reason}`, { url });
    },
    nameSuperseded: (url: string, err: unknown) => {
      log.warn(
        'name.superseded',
        'A newer incarnation uses the name of this dataplane; kuma-dp keeps running. Unless this host was replaced, rename one of the two',
        {
          url,
          err,
        },
      );
    },
  };
}

function rotationEvents(log: Log) {
  return {
    rotationRequested: (wanted: 'out' | 'in') => {
      const what =
        wanted === 'out'
          ? 'drain: taking the dataplane out of rotation until resume'
          : 'resume: putting the dataplane back into rotation';
      log.info('rotation.requested', what, { wanted });
    },
    rotationChanged: (wanted: 'out' | 'in', found: boolean) => {
      const now = wanted === 'out' ? 'Out of rotation' : 'In rotation again';
      log.info('rotation.changed', found ? `${now}: the object is updated` : `${now}: there is no object`, {
        wanted,
      });
    },
    rotationFailed: (wanted: 'out' | 'in', err: unknown) => {
      const what =
        wanted === 'out' ? 'take the dataplane out of rotation' : 'put the dataplane back into rotation';
      log.warn('rotation.failed', `Cannot ${what}; the agent keeps trying`, {
        wanted,
        err,
      });
    },
    healthcheckUntold: (err: unknown) => {
      log.warn(
        'healthcheck.unset',
        "Cannot set Envoy's own health: Kuma's health checks may undo the drain or resume",
        {
          err,
        },
      );
    },
    controlUnavailable: (err: unknown) => {
      log.warn(
        'control.unavailable',
        'Cannot open the control socket: drain, resume and status cannot reach this agent; everything else works',
        { err },
      );
    },
  };
}
