import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from '@grpc/grpc-js';

import { fromServiceError } from './grpc-failure.io.ts';

/** A method of a generated client, bound to it. */
// oxlint-disable-next-line max-params -- it is grpc-js that calls it so
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

export interface UnaryCall<Request, Response> {
  /** Imperative phrase for error messages. */
  readonly action: string;
  readonly method: UnaryMethod<Request, Response>;
  readonly request: Request;
  readonly metadata: Metadata;
  readonly signal: AbortSignal;
  /** The deadline that the companion gets; it answers before. */
  readonly budgetMs?: number;
}

/**
 * One call that ends with `signal`; grpc-js knows no signals. A cancelled call changes nothing at the companion.
 *
 * @throws `OperationalError`, or the reason of `signal`
 */
export function unaryCall<Request, Response>(call: UnaryCall<Request, Response>): Promise<Response> {
  const { action, method, request, metadata, signal, budgetMs } = call;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // grpc-js takes a point in time and sends a duration.
    const options = budgetMs === undefined ? {} : { deadline: Date.now() + budgetMs };
    const onAbort = (): void => {
      pending.cancel();
    };
    const pending = method(request, metadata, options, (error, response) => {
      signal.removeEventListener('abort', onAbort);
      if (error === null) resolve(response);
      else reject(signal.aborted ? (signal.reason as Error) : fromServiceError(action, error));
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
