/** Where a test build of the companion can be killed. */
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

/** Does nothing. Test builds put `test/support/crash-points.ts` in this file's place, which ends the process here if asked to. */
export function crashPoint(_at: CrashPoint): void {}
