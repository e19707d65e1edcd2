/** Points at which a test build of the companion can be killed. */
export type CrashPoint =
  | 'attach.recorded'
  | 'leave.recorded'
  | 'attempt.read'
  | 'attempt.body-kept'
  | 'attempt.sending'
  | 'attempt.deleted'
  | 'attempt.recorded'
  | 'register.sending'
  | 'register.put'
  | 'sideline.reserved'
  | 'sideline.kept'
  | 'sideline.put'
  | 'sideline.recorded'
  | 'restore.kept'
  | 'restore.put';

/**
 * Does nothing. Test builds replace this file by `test/support/crash-points.ts`, which ends the process here on demand.
 */
export function crashPoint(_at: CrashPoint): void {}
