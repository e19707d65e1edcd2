import type { Clock } from '../../kernel/clock.ts';
import { lookByTcp } from '../../program/tcp-look.io.ts';
import type { OwnLook } from './rounds.ts';

/** Looks from the host of the companion, as an agent does from its own. */
export function ownLook(clock: Clock): OwnLook {
  return async (targets, control) => {
    const findings = await lookByTcp({ clock, targets, control });
    return findings.map(({ result }) => result);
  };
}
