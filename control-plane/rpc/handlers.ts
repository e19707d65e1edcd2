import type { handleUnaryCall, Metadata, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';

import type { DeregistrarEvents } from '../events.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { asServiceError } from './answers.ts';

/** What a handler may know of its call. */
export interface CallContext {
  readonly metadata: Metadata;
  /** ms until the caller gives up; `undefined` if it never does. */
  readonly remainingMs: number | undefined;
  /** Says that the caller has a valid token: its connection no longer counts as a stranger's. */
  readonly authenticated: () => void;
}

export interface UnaryDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly markAuthenticated: (call: Pick<ServerUnaryCall<unknown, unknown>, 'getPeer'>) => void;
}

/** A promise as a gRPC handler. Whether the caller stays to hear the answer makes no difference to it. */
export function unary<Request, Response>(
  { clock, events, markAuthenticated }: UnaryDeps,
  handle: (request: Request, context: CallContext) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  const answer = async (call: ServerUnaryCall<Request, Response>): Promise<Answer<Response>> => {
    try {
      return [null, await handle(call.request, contextOf(call, { clock, markAuthenticated }))];
    } catch (error) {
      if (!(error instanceof OperationalError)) events.failedUnexpectedly(error);
      return [asServiceError(error)];
    }
  };
  return (call, respond) => {
    void answer(call).then((settled) => {
      respond(...settled);
    });
  };
}

type Answer<Response> = Parameters<sendUnaryData<Response>>;

function contextOf<Request, Response>(
  call: ServerUnaryCall<Request, Response>,
  { clock, markAuthenticated }: Pick<UnaryDeps, 'clock' | 'markAuthenticated'>,
): CallContext {
  return {
    metadata: call.metadata,
    remainingMs: remainingMs(call.getDeadline(), clock),
    authenticated: () => {
      markAuthenticated(call);
    },
  };
}

/** grpc-js speaks of deadlines in wall time. */
function remainingMs(deadline: Date | number, clock: Clock): number | undefined {
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(atMs) ? Math.max(0, atMs - clock.wallMs()) : undefined;
}
