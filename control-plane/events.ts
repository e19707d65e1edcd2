import { formatDuration } from '../kernel/duration.ts';
import type { Log } from '../kernel/log.ts';
import { roughDuration } from '../kernel/one-line.ts';
import { describeSteps } from '../kernel/stop-words.ts';
import type { DataplaneKey } from '../kuma/dataplane.ts';
import type { AttemptResult } from './ports.ts';
import type { TokenProblem } from './tokens/token-ports.ts';
import { CAUSES, type DataplaneRecord } from './records.pure.ts';
import type { Loss } from './witness/loss.pure.ts';
import { witnessEvents } from './witness-events.ts';
import { named, type Known } from './event-fields.ts';
import { readStopTimeline } from './page/stop-steps.pure.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';

/** Every log line of the companion. docs/operate/messages.md lists them; a contract test compares the two. */
export type DeregistrarEvents = ReturnType<typeof deregistrarEvents>;

export function deregistrarEvents(log: Log) {
  return {
    ...processEvents(log),
    ...zoneEvents(log),
    ...agentEvents(log),
    ...objectEvents(log),
    ...departureEvents(log),
    ...witnessEvents(log),
    ...storeEvents(log),
    ...connectionEvents(log),
  };
}

function processEvents(log: Log) {
  return {
    started: (settings: Readonly<Record<string, unknown>>) => {
      log.info('deregistrar.started', 'The companion has started', settings);
    },
    stopping: (attached: number) => {
      log.info(
        'deregistrar.stopping',
        `Shutting down: redirecting ${attached} agents to other replicas; their dataplanes stay registered`,
        { attached },
      );
    },
    stopped: () => {
      log.info('deregistrar.stopped', 'The companion has stopped');
    },
    notificationLost: (problem: string) => {
      log.warn('notification.lost', `Cannot notify systemd, so the unit does not become active: ${problem}`);
    },
    failedUnexpectedly: (err: unknown) => {
      const what = 'Bug in the companion: it continues without this step. Report it with this line';
      log.error('deregistrar.failed', what, { err });
    },
  };
}

function zoneEvents(log: Log) {
  return {
    controlPlaneFound: (url: string, { version, instanceId, mode }: ControlPlaneFacts) => {
      log.info('control-plane.found', `Control plane ${url} answers`, { url, version, instanceId, mode });
    },
    controlPlaneLost: (url: string, problem: string) => {
      log.warn(
        'control-plane.lost',
        `Control plane ${url} is unreachable: dataplanes connected to it cannot be verified, so their deletion waits`,
        { url, problem },
      );
    },
    controlPlaneWrong: (url: string, mode: string) => {
      log.error(
        'control-plane.wrong',
        `${url} is a ${mode} control plane, so the companion deletes nothing: name the zone's control planes in --kuma-api`,
        { url, mode },
      );
    },
    zoneForeign: (reason: string) => {
      log.error('zone.foreign', `The companion deletes no object: ${reason}. Check --store and --kuma-api`);
    },
    controlPlaneUnnamed: (instanceId: string) => {
      log.warn(
        'control-plane.unnamed',
        `Dataplanes are connected to control plane ${instanceId}, which no --kuma-api names: add its URL. Until then, the companion never takes its dataplanes for offline`,
        { instanceId },
      );
    },
  };
}

function agentEvents(log: Log) {
  return {
    attached: (known: Known, how: { readonly fenced: boolean; readonly leaving: boolean }) => {
      log.info(
        'agent.attached',
        how.fenced
          ? 'An agent attached'
          : 'An agent attached; the store is unavailable, so it is not recorded yet',
        { ...named(known), ...how },
      );
    },
    /** @param graceMs `undefined`: the companion does not delete it */
    lost: (known: Known, { reason, cause }: Loss, graceMs: number | undefined) => {
      const follows =
        graceMs === undefined
          ? 'stays, since its owner deletes it'
          : `is deleted unless the agent returns within ${formatDuration(graceMs)}`;
      log.warn('agent.lost', `Lost an agent without a leave request (${reason}): its dataplane ${follows}`, {
        ...named(known),
        loss: cause,
      });
    },
    gone: (known: Known) => {
      log.info('agent.gone', 'A leaving agent has closed its stream', named(known));
    },
    superseded: (known: Known) => {
      log.warn(
        'agent.superseded',
        'A newer incarnation uses this name: two hosts share it, or the older one came back. Give each host a name of its own',
        named(known),
      );
    },
    held: (known: Known, reason: string) => {
      log.warn('agent.held', `An agent waits for its name: ${reason}`, named(known));
    },
    refused: (dataplane: string, code: string, reason: string) => {
      log.warn('agent.refused', `Refused an agent (${code}): ${reason}`, { dataplane, code });
    },
    reported: (known: Known, report: unknown) => {
      const told = readStopTimeline(report);
      const text =
        told === undefined
          ? 'Cannot read the stop report of an agent'
          : `Stopped in ${roughDuration(told.totalMs)}: ${describeSteps(told.steps)}`;
      log.info('agent.reported', text, { ...named(known), report });
    },
  };
}

function objectEvents(log: Log) {
  return {
    kept: (known: Known) => {
      log.info(
        'dataplane.kept',
        'The agent ends and keeps its object (--on-crash keep): the companion does not delete it',
        named(known),
      );
    },
    registered: (known: Known, ready: boolean) => {
      log.info(
        'dataplane.registered',
        ready ? 'Marked the object ready: Envoy serves' : 'Registered the object, not ready',
        named(known),
      );
    },
    healed: (known: Known, reason: string) => {
      log.warn(
        'dataplane.healed',
        `The object of a running dataplane was missing: the companion has put it back: ${reason}`,
        named(known),
      );
    },
    healingFailed: (known: Known, err: unknown) => {
      const what = 'Cannot put back the missing object of a running dataplane: the companion tries again';
      log.warn('dataplane.missing', what, { ...named(known), err });
    },
  };
}

function departureEvents(log: Log) {
  return {
    leaving: (known: Known) => {
      log.info('departure.requested', 'An agent asks to leave', named(known));
    },
    swept: (key: DataplaneKey, reason: string) => {
      log.info(
        'sweep.found',
        `The sweep deletes an offline dataplane without an agent: ${reason}`,
        named({ key }),
      );
    },
    sweepReported: (key: DataplaneKey, reason: string) => {
      log.info(
        'sweep.reported',
        `The sweep only reports, and would delete this object: ${reason}`,
        named({ key }),
      );
    },
    attempted: (record: DataplaneRecord, result: AttemptResult) => {
      const fields = {
        ...named(record),
        cause: record.state === 'attached' ? undefined : CAUSES[record.state],
        attempts: record.attempts + 1,
        guard: result.guard,
      };
      if (result.kind === 'ended') {
        const text = `Finished the departure (${result.outcome}): ${result.reason}`;
        if (result.outcome === 'refused') log.warn('departure.refused', text, fields);
        else log.info('departure.ended', text, fields);
      } else if (result.guard !== record.guard || record.attempts === 0) {
        log.info('departure.held', `The deletion waits: ${result.reason}`, fields);
      }
    },
    attemptFailed: (record: DataplaneRecord | undefined, err: unknown) => {
      log.warn(
        'departure.failed',
        'Cannot finish a deletion attempt: the companion tries again',
        record === undefined ? { err } : { ...named(record), err },
      );
    },
    undone: (key: DataplaneKey) => {
      log.info('departure.undone', 'An operator has put a deleted object back', named({ key }));
    },
    brakeReleased: (mesh: string, forMs: number) => {
      log.warn('brake.released', `An operator released the brake for ${formatDuration(forMs)}`, {
        mesh: mesh === '' ? 'all' : mesh,
      });
    },
  };
}

function storeEvents(log: Log) {
  return {
    storeLost: (err: unknown) => {
      log.error(
        'store.lost',
        'The store is unavailable: requested departures continue in memory, and no other object is deleted',
        { err },
      );
    },
    storeFound: (awayMs: number) => {
      log.info('store.found', `The store is available again after ${formatDuration(Math.round(awayMs))}`);
    },
    epochsRaised: (epoch: number) => {
      log.warn(
        'store.behind',
        `The store has lost epochs that it gave out, as after a failover or a restored copy. No dataplane is affected: epochs continue at ${epoch}`,
        { epoch },
      );
    },
    replicaLost: (count: number, returnMs: number) => {
      log.warn(
        'replica.lost',
        `A silent or restarted replica had ${count} agents: they have ${formatDuration(returnMs)} to attach again`,
        { count, returnMs },
      );
    },
    agentsMissing: (count: number) => {
      log.warn(
        'agents.missing',
        `${count} agents did not attach again after the loss of their replica: their dataplanes count as lost`,
        { count },
      );
    },
  };
}

function connectionEvents(log: Log) {
  return {
    tokenRefused: (
      { mesh, address }: { readonly mesh: string; readonly address: string },
      reason: string,
    ) => {
      log.warn('token.refused', `Refused a dataplane token: ${reason}`, {
        mesh: mesh.slice(0, 100),
        address,
      });
    },
    tokensDoubted: (problem: TokenProblem) => {
      log.warn('tokens.stale', 'Cannot refresh token keys and revocations: using the last copy', {
        ...problem,
      });
    },
    /** @param advice continues the sentence */
    connectionRefused: (limit: string, address: string, advice = '') => {
      log.warn('connection.refused', `Refused a connection: over the limit of ${limit}${advice}`, {
        limit,
        address,
      });
    },
    handshakeFailed: (address: string, err: unknown) => {
      log.debug('handshake.failed', 'A TLS handshake with a client failed', { address, err });
    },
    certificateAwaited: (problem: string) => {
      log.warn('certificate.awaited', `Cannot load a certificate, so agents cannot attach yet: ${problem}`);
    },
    certificateReloaded: (file: string, expiresAtMs: number) => {
      log.info('certificate.loaded', 'Loaded the certificate for agents', {
        file,
        expires: new Date(expiresAtMs).toISOString(),
      });
    },
    fileKept: (path: string, err: unknown) => {
      const what = `Cannot use the new content of ${path}: using the last good one`;
      log.warn('file.kept', what, { err, path });
    },
    certificateBroken: (file: string, err: unknown) => {
      log.error(
        'certificate.broken',
        'Cannot use the new certificate: the old one stays in use. Repair the files; the companion reads them again',
        { file, err },
      );
    },
  };
}
