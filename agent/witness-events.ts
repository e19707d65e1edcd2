import type { Log } from '../kernel/log.ts';
import type { Target } from '../kernel/tcp-findings.ts';

export function witnessEvents(log: Log) {
  return {
    lookRefused: (reason: string, at: Target | undefined) => {
      log.warn('look.refused', `Refused a look that the companion asked for: ${reason}`, {
        at,
      });
    },
    witnessUnable: (reason: string, at: Target) => {
      log.info('witness.unable', `This agent cannot tell whether it reaches other dataplanes: ${reason}`, {
        at,
      });
    },
  };
}
