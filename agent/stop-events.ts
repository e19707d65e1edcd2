import { formatDuration } from '../kernel/duration.ts';
import type { Log } from '../kernel/log.ts';
import { roughDuration } from '../kernel/one-line.ts';
import { describeSteps } from '../kernel/stop-words.ts';
import { describeDenial, describeExit, type ChildExit, type SignalName } from './child/exit-status.pure.ts';
import type { HoldCause } from './stop/hold.pure.ts';
import type { Confirmed, Deregistration } from './stop/phases.pure.ts';
import type { StopReport } from './stop/stop-report.pure.ts';

/** By the number of stop requests. */
const STOP_WORDS = [
  'stopping; deregistering first',
  'second request: no more waiting for peers and requests',
  'third request: killing kuma-dp',
] as const;

export function stopEvents(log: Log) {
  return {
    phaseChanged: (from: string, to: string, input: string) => {
      log.debug('phase.changed', `${from} → ${to}`, { from, to, input });
    },
    stopRequested: (signal: SignalName, asked: number) => {
      const how = STOP_WORDS[Math.min(asked, 3) - 1];
      log.info('stop.requested', `${signal}: ${how}`, { signal, ...(asked > 1 ? { asked } : {}) });
    },
    signalForwarded: (signal: SignalName) => {
      // systemd sends SIGCONT after each SIGTERM: an operator need not see it.
      if (signal === 'SIGCONT') return;
      log.info('signal.forwarded', `Forwarded ${signal} to kuma-dp`, { signal });
    },
    deregistrationLate: () => {
      log.warn('deregistration.late', 'Not deregistered yet: kuma-dp drains and the agent keeps trying');
    },
    deregistered: (result: Deregistration & { readonly dataplane?: string }) => {
      const { outcome, reason, ...fields } = result;
      if (outcome === 'failed') {
        log.error(
          'deregistration.failed',
          `Not deregistered: peers keep sending requests until the control plane notices. ${reason}`,
          fields,
        );
      } else if (outcome === 'handed over') {
        log.warn('dataplane.handed-over', `The companion will delete the object: ${reason}`, fields);
      } else if (outcome === 'kept') {
        log.info('dataplane.kept', `The object stays: ${reason}`, fields);
      } else log.info('dataplane.deregistered', `Deregistered: the object is gone (${reason})`, fields);
    },
    drainBlind: (reason: string) => {
      log.warn(
        'drain.blind',
        `Cannot read Envoy's statistics: waiting for kuma-dp's full drain time: ${reason}`,
      );
    },
    drainHeld: (words: string, cause: HoldCause) => {
      log.info('drain.held', `Envoy keeps serving: ${words}`, { cause });
    },
    childDetached: (pid: number) => {
      log.warn(
        'child.detached',
        `kuma-dp (pid ${pid}) went to the background. The agent still looks after it, but its exit status is lost. Run it in the foreground`,
        { pid },
      );
    },
    childDenied: (pid: number) => {
      log.error('child.denied', describeDenial(pid), { pid });
    },
    childExited: (exit: ChildExit) => {
      log.info('child.exited', `kuma-dp exited: ${describeExit(exit)}`, { exit });
    },
  };
}

export function endEvents(log: Log) {
  return {
    confirmed: (confirmed: Confirmed) => {
      if (confirmed.outcome === 'gone') return;
      const { outcome, reason } = confirmed;
      if (outcome === 'deleted again') {
        log.info(
          'recreation.undone',
          'A control plane had created the object again: the agent has deleted it',
        );
      } else
        log.warn(
          'recreation.unclear',
          `Cannot confirm that the object is gone, so peers may still list it: ${reason ?? outcome}`,
        );
    },
    stopReported: (report: StopReport) => {
      const { totalMs, budgetMs, cause, steps } = report;
      const took = `${roughDuration(totalMs)} (${cause}; budget ${formatDuration(budgetMs)})`;
      log.info('stop.reported', `Stopped in ${took}: ${describeSteps(steps)}`, { report });
    },
    reportUnwritable: (err: unknown) => {
      log.warn('report.unwritable', 'Cannot write the report file: the stop report is in this log only', {
        err,
      });
    },
    failedUnexpectedly: (err: unknown) => {
      log.error(
        'agent.failed',
        'Bug in the agent: the stop continues without this step. Report it with this line',
        { err },
      );
    },
  };
}
