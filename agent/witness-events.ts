import type { Log } from '../kernel/log.ts';
import type { Target } from '../kernel/tcp-findings.ts';

export function witnessEvents(log: Log) {
  return {
    objectUnmarked: () => {
      log.warn(
        'dataplane.restored',
        'A companion had taken this dataplane out of rotation as lost and is not there to put it back: the agent has put it back',
      );
    },
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
