/** Where a peer's Envoy connects. */
export interface Target {
  /** An IP literal. */
  readonly address: string;
  readonly port: number;
}

/**
 * - `reached`: a connect was accepted.
 * - `refused`: the target's kernel refused both connects.
 * - `silent`: neither connect was accepted, and one had no answer.
 * - `unable`: this host cannot tell.
 */
export const LOOK_RESULTS = ['reached', 'refused', 'silent', 'unable'] as const;

export type LookResult = (typeof LOOK_RESULTS)[number];

export interface LookFinding {
  readonly target: Target;
  readonly result: LookResult;
  /** Why this host cannot tell; empty otherwise. */
  readonly reason: string;
}

/** How one connect ended: `accepted`, `no answer`, or the code that the kernel gave. */
export type ConnectOutcome = 'accepted' | 'no answer' | { readonly code: string };

/** All connects to one target. */
export interface Contact {
  readonly outcomes: readonly ConnectOutcome[];
  /** The largest delay of a timer that measures the waits, ms. */
  readonly latenessMs: number;
}

/** The evidence of one look. */
export interface LookEvidence {
  /** `undefined`: the mesh has no other host. */
  readonly control: { readonly before: Contact; readonly after: Contact } | undefined;
  /** The port at the control's address where nothing listens; `undefined` without a control. */
  readonly closedPort: Contact | undefined;
  readonly targets: readonly { readonly target: Target; readonly contact: Contact }[];
}

/** A timer this late shows that the event loop stalled: Node runs timers before it reads sockets. */
const LATE_MS = 100;

/** Kernel errors that mean that another host does not answer. */
const NO_ANSWER_CODES: ReadonlySet<string> = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN']);

/**
 * The testimony of a witness. In doubt it is `unable`, because a wrong `silent` or `refused` takes a living host out of
 * rotation.
 */
export function judgeLook(evidence: LookEvidence): readonly LookFinding[] {
  const redirect = isAccepted(evidence.closedPort)
    ? "this host's connections are redirected: a port answers where nothing listens"
    : undefined;
  return evidence.targets.map(({ target, contact }) => {
    if (redirect !== undefined) return unable(target, redirect);
    if (isAccepted(contact)) return { target, result: 'reached', reason: '' };
    const doubt = doubtOf(evidence.control, [contact, evidence.closedPort]);
    return doubt === undefined ? { target, result: resultOf(contact), reason: '' } : unable(target, doubt);
  });
}

export function unable(target: Target, reason: string): LookFinding {
  return { target, result: 'unable', reason };
}

/** Whether the connects found a listener. */
export function isAccepted(contact: Contact | undefined): boolean {
  return contact?.outcomes.includes('accepted') === true;
}

/** The reason why a failed connect proves nothing about the target. */
function doubtOf(
  control: LookEvidence['control'],
  [contact, closedPort]: readonly [Contact, Contact | undefined],
): string | undefined {
  const code = contact.outcomes.map(ownProblem).find((each) => each !== undefined);
  if (code !== undefined) return `this host cannot connect: ${code}`;
  if (control !== undefined && !isAccepted(control.before))
    return 'this host did not reach the control before the look';
  if (control !== undefined && !isAccepted(control.after))
    return 'this host did not reach the control after the look';
  const contacts = [contact, closedPort, control?.before, control?.after];
  const latenessMs = Math.max(...contacts.map((each) => each?.latenessMs ?? 0));
  return latenessMs > LATE_MS ? `this process stalled for ${Math.round(latenessMs)} ms` : undefined;
}

/** An error of this host, not of the target. */
function ownProblem(outcome: ConnectOutcome): string | undefined {
  if (typeof outcome === 'string' || outcome.code === 'ECONNREFUSED') return undefined;
  return NO_ANSWER_CODES.has(outcome.code) ? undefined : outcome.code;
}

function resultOf({ outcomes }: Contact): 'refused' | 'silent' {
  return outcomes.length > 0 && outcomes.every(isRefused) ? 'refused' : 'silent';
}

function isRefused(outcome: ConnectOutcome): boolean {
  return typeof outcome === 'object' && outcome.code === 'ECONNREFUSED';
}
