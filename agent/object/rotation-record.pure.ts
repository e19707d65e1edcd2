import * as z from 'zod/mini';

/**
 * The operator's request by `drain` or `resume`. It stays in the state file until it is done and undone: a drained
 * dataplane stays drained when its agent restarts.
 */
export const RotationRecord = z.object({
  wanted: z.enum(['out', 'in']),
  /** RFC 3339, wall clock: for people. */
  since: z.string(),
  /** What to put back, by port. */
  states: z.record(z.string(), z.string()),
});
export type RotationRecord = z.infer<typeof RotationRecord>;

/**
 * The progress. `in`: not drained. `turning out`, `turning in`: the object or the peers do not know yet. `out`: peers
 * have dropped the endpoint.
 */
export type RotationStage = 'in' | 'turning out' | 'out' | 'turning in';

/** The result of a drain or a resume, for the caller. */
export interface RotationResult {
  readonly outcome: 'done' | 'pending' | 'refused' | 'stopping';
  /** Whether this request changed what was wanted. */
  readonly changed: boolean;
  /** One sentence without a period. */
  readonly detail: string;
}

/**
 * How often the agent checks a finished rotation. Envoy's next health report may be older than `/healthcheck/fail`
 * (KUMA: checks every second, reports every five), and a restarted control plane takes the resource from kuma-dp. Both
 * undo a drain until the next look.
 */
export function lookAgainMs(sinceTurnMs: number, found: boolean): number {
  if (sinceTurnMs >= 12_000) return 5_000;
  // kuma-dp's control plane will create it in a moment, ready.
  return found ? 1_000 : 250;
}

/** The rest of the settle time for a change that was written `sinceMs` ago; the whole settle time for `undefined`. */
export function settleLeftMs(settleMs: number, outForMs: number | undefined): number {
  return outForMs === undefined ? settleMs : Math.max(0, settleMs - outForMs);
}
