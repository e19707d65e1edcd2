import { formatDuration } from '../kernel/duration.ts';
import type { Log } from '../kernel/log.ts';
import { roughDuration } from '../kernel/one-line.ts';
import { describeSteps } from '../kernel/stop-words.ts';
import { describeKey, type DataplaneKey } from '../kuma/dataplane.ts';
import type { AttemptResult } from './ports.ts';
import type { TokenProblem } from './tokens/token-ports.ts';
import type { DataplaneRecord } from './records.pure.ts';
import type { Loss } from './witness/loss.pure.ts';
import { readStopTimeline } from './page/stop-steps.pure.ts';
import type { ControlPlaneFacts } from '../kuma/control-plane.ts';

/** Every log line of the companion. docs/events.md lists them; a contract test compares the two. */
export type DeregistrarEvents = ReturnType<typeof deregistrarEvents>;

export function deregistrarEvents(log: Log) {
  return {
    ...processEvents(log),
    ...zoneEvents(log),
    ...agentEvents(log),
    ...objectEvents(log),
    ...departureEvents(log),
    ...storeEvents(log),
    ...connectionEvents(log),
  };
}

interface Known {
  readonly key: DataplaneKey;
  readonly epoch?: number | undefined;
  readonly incarnation?: string | undefined;
}

function named({ key, epoch, incarnation }: Known) {
  return { dataplane: describeKey(key), epoch, incarnation };
}

function processEvents(log: Log) {
  return {
    started: (settings: Readonly<Record<string, unknown>>) => {
      log.info('deregistrar.started', 'The companion is up', settings);
    },
    stopping: (attached: number) => {
      log.info('deregistrar.stopping', `Sending ${attached} agents elsewhere: none of them departs by it`, {
        attached,
      });
    },
    stopped: () => {
      log.info('deregistrar.stopped', 'The companion is down');
    },
    notificationLost: (problem: string) => {
      log.warn('notification.lost', `systemd does not hear how this service is: ${problem}`);
    },
    failedUnexpectedly: (err: unknown) => {
      log.error('deregistrar.failed', 'A bug in the companion; it goes on without this step', { err });
    },
  };
}

function zoneEvents(log: Log) {
  return {
    controlPlaneFound: (url: string, { version, instanceId, mode }: ControlPlaneFacts) => {
      log.info('control-plane.found', `A control plane answers at ${url}`, {
        url,
        version,
        instanceId,
        mode,
      });
    },
    controlPlaneLost: (url: string, problem: string) => {
      log.warn(
        'control-plane.lost',
        `No control plane answers at ${url}: what its streams are worth cannot be told`,
        { url, problem },
      );
    },
    controlPlaneWrong: (url: string, mode: string) => {
      log.error('control-plane.wrong', `${url} is a ${mode} control plane: dataplanes belong to the zone's`, {
        url,
        mode,
      });
    },
    zoneForeign: (reason: string) => {
      log.error('zone.foreign', `Nothing is deleted: ${reason}`);
    },
    controlPlaneUnnamed: (instanceId: string) => {
      log.warn(
        'control-plane.unnamed',
        `Dataplanes are connected to control plane ${instanceId}, which no --kuma-api names: add its URL. Until then, none of its dataplanes counts as offline`,
        { instanceId },
      );
    },
  };
}

function agentEvents(log: Log) {
  return {
    attached: (known: Known, how: { readonly fenced: boolean; readonly leaving: boolean }) => {
      log.info('agent.attached', how.fenced ? 'An agent attached' : 'An agent attached, not remembered yet', {
        ...named(known),
        ...how,
      });
    },
    /** @param graceMs `undefined`: the companion does not delete it */
    lost: (known: Known, { reason, cause }: Loss, graceMs: number | undefined) => {
      const follows =
        graceMs === undefined
          ? 'stays, it is not ours to delete'
          : `is deleted if nothing is heard for ${formatDuration(graceMs)}`;
      log.warn('agent.lost', `The stream ended without a word (${reason}): its dataplane ${follows}`, {
        ...named(known),
        loss: cause,
      });
    },
    gone: (known: Known) => {
      log.info('agent.gone', 'The stream of an agent that leaves has ended', named(known));
    },
    superseded: (known: Known) => {
      log.warn(
        'agent.superseded',
        'A newer incarnation has this name: two hosts use it, or the older one came back',
        named(known),
      );
    },
    held: (known: Known, reason: string) => {
      log.warn('agent.held', `An agent waits for its name: ${reason}`, named(known));
    },
    refused: (dataplane: string, code: string, reason: string) => {
      log.warn('agent.refused', `${code}: ${reason}`, { dataplane, code });
    },
    reported: (known: Known, report: unknown) => {
      const told = readStopTimeline(report);
      const text =
        told === undefined
          ? 'Sent a stop report that cannot be read'
          : `Stopped in ${roughDuration(told.totalMs)}: ${describeSteps(told.steps)}`;
      log.info('agent.reported', text, { ...named(known), report });
    },
  };
}

function objectEvents(log: Log) {
  return {
    kept: (known: Known) => {
      log.info('dataplane.kept', 'Its agent ends and wants its object to stay', named(known));
    },
    registered: (known: Known, ready: boolean) => {
      log.info(
        'dataplane.registered',
        ready ? 'Peers may see it: Envoy serves' : 'The object was put, not ready',
        named(known),
      );
    },
    healed: (known: Known, reason: string) => {
      log.warn(
        'dataplane.healed',
        `The object of a running dataplane was missing and is put back: ${reason}`,
        named(known),
      );
    },
  };
}

function departureEvents(log: Log) {
  return {
    leaving: (known: Known) => {
      log.info('departure.announced', 'An agent says that it leaves', named(known));
    },
    swept: (key: DataplaneKey, reason: string) => {
      log.info('sweep.found', `Offline and without an agent: ${reason}`, named({ key }));
    },
    sweepReported: (key: DataplaneKey, reason: string) => {
      log.info('sweep.reported', `Would be deleted: ${reason}`, named({ key }));
    },
    attempted: (record: DataplaneRecord, result: AttemptResult) => {
      const fields = {
        ...named(record),
        cause: record.state,
        attempts: record.attempts + 1,
        guard: result.guard,
      };
      if (result.kind === 'ended') {
        const text = `${result.outcome}: ${result.reason}`;
        if (result.outcome === 'refused') log.warn('departure.refused', text, fields);
        else log.info('departure.ended', text, fields);
      } else if (result.guard !== record.guard || record.attempts === 0) {
        log.info('departure.held', `Not yet: ${result.reason}`, fields);
      }
    },
    attemptFailed: (record: DataplaneRecord | undefined, err: unknown) => {
      log.warn(
        'departure.failed',
        'An attempt could not be finished; it is made again',
        record === undefined ? { err } : { ...named(record), err },
      );
    },
    undone: (key: DataplaneKey) => {
      log.info('departure.undone', 'A deleted object was put back by an operator', named({ key }));
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
        'The store is out of reach: announced departures go on in memory, nothing else is deleted',
        { err },
      );
    },
    storeFound: (awayMs: number) => {
      log.info('store.found', `The store answers again after ${formatDuration(Math.round(awayMs))}`);
    },
    epochsRaised: (epoch: number) => {
      log.warn(
        'store.behind',
        `The store gave out epochs before that it does not know of, as after a failover or a restored copy: epochs go on at ${epoch}`,
        { epoch },
      );
    },
    replicaLost: (count: number, returnMs: number) => {
      log.warn(
        'replica.lost',
        `${count} agents were attached to a replica that is silent or was restarted: they have ${formatDuration(returnMs)} to attach again`,
        { count, returnMs },
      );
    },
    agentsMissing: (count: number) => {
      log.warn(
        'agents.missing',
        `${count} agents did not attach again after their replica was lost: their dataplanes are judged now`,
        { count },
      );
    },
  };
}

function connectionEvents(log: Log) {
  return {
    tokenRefused: (mesh: string, reason: string) => {
      log.warn('token.refused', `A dataplane token was refused: ${reason}`, { mesh });
    },
    tokensDoubted: (problem: TokenProblem) => {
      log.warn('tokens.doubted', 'What tokens are checked by cannot be read: what was read last holds', {
        ...problem,
      });
    },
    connectionRefused: (limit: string, address: string) => {
      log.warn('connection.refused', `Over a limit: ${limit}`, { limit, address });
    },
    handshakeFailed: (address: string, err: unknown) => {
      log.debug('handshake.failed', 'A TLS handshake failed', { address, err });
    },
    certificateAwaited: (problem: string) => {
      log.warn(
        'certificate.awaited',
        `Agents cannot attach yet, without a certificate to show them: ${problem}`,
      );
    },
    certificateReloaded: (file: string, expiresAtMs: number) => {
      log.info('certificate.loaded', 'Agents are shown this certificate', {
        file,
        expires: new Date(expiresAtMs).toISOString(),
      });
    },
    fileKept: (path: string, err: unknown) => {
      log.warn('file.kept', `Cannot use ${path} as it is now: its last good content stays in force`, {
        err,
        path,
      });
    },
    certificateBroken: (file: string, err: unknown) => {
      log.error('certificate.broken', 'The new certificate cannot be used; the old one stays', { file, err });
    },
  };
}
