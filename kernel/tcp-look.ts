import { contact, type ContactDeps } from './tcp-contact.ts';
import {
  isAccepted,
  judgeLook,
  type Contact,
  type LookEvidence,
  type LookFinding,
  type Target,
} from './tcp-findings.ts';

export interface Look {
  readonly targets: readonly Target[];
  /** Looked at before and after; `undefined` if the mesh has no other host. */
  readonly control: Target | undefined;
  /** A port at the control's address where nothing listens. */
  readonly closedPort: number | undefined;
}

/**
 * Looks at each target as a peer would connect to it, without a byte sent. Agents and the companion look the same way.
 *
 * @param over ends the connects that are under way
 * @returns one finding for each target, in their order. Never rejects.
 */
export async function lookByTcp(
  deps: ContactDeps,
  look: Look,
  over: AbortSignal,
): Promise<readonly LookFinding[]> {
  return judgeLook(await gather(deps, look, over));
}

async function gather(
  deps: ContactDeps,
  { targets, control, closedPort }: Look,
  over: AbortSignal,
): Promise<LookEvidence> {
  const before = control === undefined ? undefined : await contact(deps, control, over);
  if (before !== undefined && !isAccepted(before)) return withoutControl(targets, before);
  const [closed, ...contacts] = await Promise.all([
    control === undefined || closedPort === undefined
      ? undefined
      : contact(deps, { address: control.address, port: closedPort }, over),
    ...targets.map((target) => contact(deps, target, over)),
  ]);
  const after = control === undefined ? undefined : await contact(deps, control, over);
  return {
    control: before === undefined || after === undefined ? undefined : { before, after },
    closedPort: closed,
    targets: targets.map((target, at) => ({ target, contact: contacts[at] ?? NO_CONTACT })),
  };
}

const NO_CONTACT: Contact = { outcomes: [], latenessMs: 0 };

/** A witness without a control does not look at the targets. */
function withoutControl(targets: readonly Target[], before: Contact): LookEvidence {
  return {
    control: { before, after: NO_CONTACT },
    closedPort: undefined,
    targets: targets.map((target) => ({ target, contact: NO_CONTACT })),
  };
}
