import type { Clock } from '../../kernel/clock.ts';
import { lookByTcp } from '../../kernel/tcp-look.ts';
import { tcpConnect } from '../../program/tcp-connect.ts';
import type { OwnLook } from './rounds.ts';

/** Looks from the host of the companion, as an agent does from its own. */
export function ownLook(clock: Clock): OwnLook {
  return async (targets, control) => {
    const look = { targets, control, closedPort: control?.closedPort };
    const findings = await lookByTcp({ clock, connect: tcpConnect }, look, NEVER);
    return findings.map(({ result }) => result);
  };
}

/** A look takes three contacts of 0.7 s at most. */
const NEVER = new AbortController().signal;
