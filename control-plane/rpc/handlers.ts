import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';

import type { DeregistrarEvents } from '../events.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { asServiceError, isRefusal } from './answers.ts';
import type { CallBounds } from './call-bounds.ts';
import { callerOf, type CallerOf, type MarkAuthenticated } from './callers.ts';

/** What a handler may know of its call. */
export interface CallContext {
  readonly caller: CallerOf;
  /** ms until the caller gives up; `undefined` if it never does. */
  readonly remainingMs: number | undefined;
}

export interface UnaryDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  /** `undefined`: every caller is trusted. */
  readonly bounds: CallBounds | undefined;
  readonly markAuthenticated: MarkAuthenticated;
}

/** A promise as a gRPC handler. Whether the caller stays to hear the answer makes no difference to it. */
export function unary<Request, Response>(
  { clock, events, bounds, markAuthenticated }: UnaryDeps,
  handle: (request: Request, context: CallContext) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  const answer = async (call: ServerUnaryCall<Request, Response>): Promise<Answer<Response>> => {
    let release: (() => void) | undefined;
    const admit: CallerOf['admit'] = async (caller) => {
      release = await bounds?.beginCall(caller);
    };
    const caller = callerOf(call, { admit, markAuthenticated });
    try {
      const remaining = remainingMs(call.getDeadline(), clock);
      return [null, await handle(call.request, { caller, remainingMs: remaining })];
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

/** grpc-js speaks of deadlines in wall time. */
function remainingMs(deadline: Date | number, clock: Clock): number | undefined {
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(atMs) ? Math.max(0, atMs - clock.wallMs()) : undefined;
}
