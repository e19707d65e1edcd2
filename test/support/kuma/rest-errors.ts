/** A problem with one field of a request. */
export interface FieldViolation {
  readonly field: string;
  readonly reason: string;
}

/** An answer of the API server before it is written: `body` is JSON, unless it is a string. */
export interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body?: unknown;
}

export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly violations?: readonly FieldViolation[];
}

/** Kuma's error body, with the fields that it keeps for old clients. */
export function errorAnswer(problem: Problem): Answer {
  const { status, title, detail, violations = [] } = problem;
  const current = violations.length === 0 ? {} : { invalid_parameters: violations };
  const legacy =
    violations.length === 0
      ? {}
      : { causes: violations.map(({ field, reason }) => ({ field, message: reason })) };
  return {
    status,
    body: { type: '/std-errors', status, title, detail, ...current, details: detail, ...legacy },
  };
}

export function notFound(title: string): Answer {
  return errorAnswer({ status: 404, title, detail: 'Not found' });
}

export function invalid(title: string, violations: readonly FieldViolation[]): Answer {
  return errorAnswer({ status: 400, title, detail: 'Resource is not valid', violations });
}

/** What the router says about a path that it does not know. */
export const PAGE_NOT_FOUND: Answer = {
  status: 404,
  contentType: 'text/plain; charset=utf-8',
  body: '404: Page Not Found',
};

export const METHOD_NOT_ALLOWED: Answer = {
  status: 405,
  contentType: 'text/plain; charset=utf-8',
  body: '405: Method Not Allowed',
};

/** The answer to a write of a dataplane at a global control plane. */
export const READ_ONLY: Answer = errorAnswer({
  status: 405,
  title: 'Method not allowed',
  detail:
    "On global control plane you can not modify dataplane resources with 'kumactl apply' or via the HTTP API." +
    " You can still use 'kumactl' or the HTTP API to modify them on the zone control plane.\n",
});
