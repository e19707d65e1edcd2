import { status, type ServiceError } from '@grpc/grpc-js';

import { nameTlsFault, OperationalError, type ErrorCode } from '../../kernel/errors.ts';

/** grpc-js reports a failed handshake only in the words of OpenSSL and Node. */
const TLS_WORDS =
  /certificate|altname|self[- ]signed|unable to (?:get|verify)|SSL routines|wrong version number|\bEPROTO\b|\bERR_(?:TLS|SSL)/i;

/**
 * How grpc-js words a connection that ended with an errno other than ECONNRESET and ETIMEDOUT, with the status INTERNAL: a
 * host that falls silent behind a router ends with EHOSTUNREACH.
 *
 * @see https://github.com/grpc/grpc-node/blob/master/packages/grpc-js/src/subchannel-call.ts
 */
const CONNECTION_WORDS = /triggered by internal client error/;

const TOKEN_REMEDY =
  "; the companion takes the token that kuma-dp is given (--dataplane-token-file), which must be valid for this dataplane's name, mesh and tags";

/** Failures by the contract's codes. Others count as transient, like a 5xx. */
const CODES: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [status.CANCELLED, 'ENDPOINT_UNREACHABLE'],
  [status.INVALID_ARGUMENT, 'ENDPOINT_REJECTED'],
  [status.DEADLINE_EXCEEDED, 'DEADLINE_EXCEEDED'],
  [status.NOT_FOUND, 'ENDPOINT_REJECTED'],
  [status.PERMISSION_DENIED, 'ENDPOINT_REJECTED'],
  [status.UNAUTHENTICATED, 'ENDPOINT_REJECTED'],
  [status.FAILED_PRECONDITION, 'DATAPLANE_FOREIGN'],
  [status.UNIMPLEMENTED, 'ENDPOINT_REJECTED'],
  [status.UNAVAILABLE, 'ENDPOINT_UNREACHABLE'],
]);

/**
 * A failed call in this project's words.
 *
 * @param action imperative phrase for the message
 * @see proto/deregistrar/v1/deregistrar.proto for what the companion means by each status
 */
export function fromServiceError(action: string, error: ServiceError): OperationalError {
  const { code, details } = error;
  const name = status[code];
  const remedy = code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED ? TOKEN_REMEDY : '';
  const said = nameTlsFault(details);
  return new OperationalError(errorCode(code, details), `Cannot ${action}: ${name}: ${said}${remedy}`, {
    details: { status: name },
  });
}

/** Whether this failure came from grpc-js. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && typeof error.code === 'number';
}

function errorCode(code: status, details: string): ErrorCode {
  if (code === status.UNAVAILABLE && TLS_WORDS.test(details)) return 'ENDPOINT_UNTRUSTED';
  if (code === status.INTERNAL && CONNECTION_WORDS.test(details)) return 'ENDPOINT_UNREACHABLE';
  return CODES.get(code) ?? 'ENDPOINT_BUSY';
}
