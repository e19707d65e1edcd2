import type { Log } from '../kernel/log.ts';
import type { DataplaneKey } from '../kuma/dataplane.ts';
import { named, type Known } from './event-fields.ts';
import type { LossCause } from './witness/loss.pure.ts';

/** Log lines about dataplanes whose host may be lost. */
export function witnessEvents(log: Log) {
  return {
    suspected: (known: Known, cause: LossCause) => {
      log.info('witness.suspected', 'The companion asks other agents whether they reach this dataplane', {
        ...named(known),
        cause,
      });
    },
    suspectHeld: (known: Known, reason: string) => {
      log.info('witness.held', `The dataplane stays in rotation: ${reason}`, named(known));
    },
    sidelined: (known: Known, reason: string) => {
      log.warn(
        'dataplane.sidelined',
        `No witness reaches the dataplane, so the companion took it out of rotation (${reason}). It goes back when its agent returns`,
        named(known),
      );
    },
    sideliningFailed: (key: DataplaneKey, err: unknown) => {
      log.warn(
        'sidelining.failed',
        'Cannot change the ports of a lost dataplane; the companion tries again',
        {
          ...named({ key }),
          err,
        },
      );
    },
    sideliningDropped: (key: DataplaneKey) => {
      log.info(
        'sidelining.dropped',
        'The dataplane stays in rotation: its agent returned, or the evidence became too old, before its ports were changed',
        named({ key }),
      );
    },
    sideliningTaken: (key: DataplaneKey) => {
      log.info(
        'sidelining.taken',
        'Another writer changed the ports of a sidelined dataplane: the companion leaves them as they are',
        named({ key }),
      );
    },
    restored: (key: DataplaneKey) => {
      log.info('dataplane.restored', 'The companion put the dataplane back into rotation', named({ key }));
    },
  };
}
