import type { ContactDeps } from '../../kernel/tcp-contact.ts';
import { lookByTcp } from '../../kernel/tcp-look.ts';
import type { OwnLook } from './rounds.ts';

/** Looks from the host of the companion, as an agent does from its own. */
export function ownLook(deps: ContactDeps): OwnLook {
  return async (targets, control) => {
    const look = { targets, control, closedPort: control?.closedPort };
    const findings = await lookByTcp(deps, look, NEVER);
    return findings.map(({ result }) => result);
  };
}

/** A look takes three contacts of 0.7 s at most. */
const NEVER = new AbortController().signal;
