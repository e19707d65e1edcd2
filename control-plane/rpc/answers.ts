import { status, type ServiceError } from '@grpc/grpc-js';

import { ERROR_CODES, OperationalError, type ErrorCode } from '../../kernel/errors.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import type { ControlPlane } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { toWireDuration } from '../../proto/wire-duration.ts';

const STATUSES: Partial<Record<ErrorCode, status>> = {
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  DATAPLANE_FOREIGN: status.FAILED_PRECONDITION,
  STORE_BUSY: status.ABORTED,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
};

/** A failure as the caller sees it. Internal details stay in the log. */
export function asServiceError(error: unknown): Partial<ServiceError> {
  if (!(error instanceof OperationalError)) return { code: status.INTERNAL, details: 'Internal error' };
  const known = STATUSES[error.code];
  if (known !== undefined) return { code: known, details: error.message };
  const code = ERROR_CODES[error.code].retryable ? status.UNAVAILABLE : status.INTERNAL;
  return { code, details: error.message };
}

/** The caller broke a rule: a retry would be refused again. */
export function isRefusal({ code }: OperationalError): boolean {
  return REFUSALS.has(code);
}

const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'REQUEST_INVALID',
  'LIMIT_EXCEEDED',
]);

export function asControlPlane(facts: ControlPlaneFacts): ControlPlane {
  const { otherZones: zones } = facts;
  return {
    version: facts.version ?? '',
    instanceId: facts.instanceId ?? '',
    mode: facts.mode ?? '',
    propagation: toWireDuration(facts.propagationMs),
    deregistrationDelay: durationIfKnown(facts.deregistrationDelayMs),
    hdsDelay: durationIfKnown(facts.hdsDelayMs),
    ingressPropagation: zones === undefined ? undefined : toWireDuration(zones.ingressMs),
    lastOfServicePropagation: zones === undefined ? undefined : toWireDuration(zones.lastOfServiceMs),
  };
}

function durationIfKnown(ms: number | undefined): ReturnType<typeof toWireDuration> | undefined {
  return ms === undefined ? undefined : toWireDuration(ms);
}
