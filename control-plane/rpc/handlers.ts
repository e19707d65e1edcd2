import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';

import type { DeregistrarEvents } from '../events.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { asServiceError, isRefusal } from './answers.ts';
import type { Presence } from '../evidence/presence.ts';
import type { CallBounds } from './call-bounds.ts';
import { callerOf, type CallerOf, type MarkAuthenticated } from './callers.ts';

/** The call, as a handler sees it. */
export interface CallContext {
  readonly caller: CallerOf;
  /** ms until the caller gives up; `undefined` if it never does. */
  readonly remainingMs: number | undefined;
  /**
   * Call it right before something is begun for the caller.
   *
   * @throws `ENDPOINT_BUSY` if this process was paused, and the caller may have given up before its call was read
   */
  requireWaiting(): void;
}

export interface UnaryDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly presence: Pick<Presence, 'lateMs'>;
  /** `undefined`: every caller is trusted. */
  readonly bounds: CallBounds | undefined;
  readonly markAuthenticated: MarkAuthenticated;
}

/**
 * A promise as a gRPC handler. Its work continues if the caller hangs up. It begins nothing for a caller that may have
 * given up while this process was paused: the caller's wait counts from when its call is read.
 */
export function unary<Request, Response>(
  { clock, events, presence, bounds, markAuthenticated }: UnaryDeps,
  handle: (request: Request, context: CallContext) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  const answer = async (call: ServerUnaryCall<Request, Response>): Promise<Answer<Response>> => {
    let release: (() => void) | undefined;
    const admit: CallerOf['admit'] = async (caller) => {
      release = await bounds?.beginCall(caller);
    };
    const caller = callerOf(call, { admit, markAuthenticated });
    try {
      const { lateMs } = presence;
      const remaining = remainingMs(call.getDeadline(), clock, lateMs);
      const requireWaiting = (): void => {
        if (lateMs > 0 && (remaining === undefined || remaining === 0 || call.cancelled)) throw late(lateMs);
      };
      requireWaiting();
      return [null, await handle(call.request, { caller, remainingMs: remaining, requireWaiting })];
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      else if (isRefusal(error)) await bounds?.beforeRefusal(caller.address);
      return [asServiceError(error)];
    } finally {
      release?.();
    }
  };
  return (call, respond) => {
    void answer(call).then((settled) => {
      respond(...settled);
    });
  };
}

type Answer<Response> = Parameters<sendUnaryData<Response>>;

/** grpc-js states deadlines in wall time, and starts to count when it reads the call. */
function remainingMs(deadline: Date | number, clock: Clock, lateMs: number): number | undefined {
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(atMs) ? Math.max(0, atMs - clock.wallMs() - lateMs) : undefined;
}

function late(lateMs: number): OperationalError {
  return new OperationalError(
    'ENDPOINT_BUSY',
    `Cannot tell whether the caller still waits: this process was stopped for ${Math.round(lateMs / 1_000)} s. Ask again`,
  );
}
