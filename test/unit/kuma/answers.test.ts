import { describe, expect, test } from 'vitest';

import { OperationalError, type ErrorCode, type ErrorDetails } from '../../../kernel/errors.ts';
import { METHOD_NOT_ALLOWED, requireAnswer, type RestAnswer } from '../../../kuma/answers.ts';

import { RECORDED_VERSIONS, recordedAnswer } from '../../support/kuma/recorded.ts';

const ACTION = 'delete dataplane default/web-1';

function answer(status: number, body?: unknown, retryAfter?: string): RestAnswer {
  return { status, body, retryAfter };
}

/** As Kuma's API server words an error. */
function standard(status: number, title: string, detail?: string): RestAnswer {
  return answer(status, { type: '/std-errors', status, title, ...(detail === undefined ? {} : { detail }) });
}

function failureOf(given: RestAnswer): OperationalError {
  try {
    requireAnswer(ACTION, given);
  } catch (error) {
    if (error instanceof OperationalError) return error;
  }
  throw new TypeError('no OperationalError was thrown');
}

describe('requireAnswer(): success', () => {
  test.for<{ readonly name: string; readonly given: RestAnswer }>([
    { name: '200 with an object', given: answer(200, {}) },
    { name: '200 with nothing, as 2.7 to 2.9 answer a deletion', given: answer(200) },
    { name: '201 with an object', given: answer(201, { warnings: [] }) },
    { name: '204', given: answer(204) },
  ])('$name: found', ({ given }) => {
    expect(requireAnswer(ACTION, given)).toBe('found');
  });

  test.for<{ readonly name: string; readonly body: unknown }>([
    { name: 'a text', body: 'ok' },
    { name: 'a number', body: 0 },
    { name: 'a boolean', body: true },
    { name: 'null', body: null },
    { name: 'a list', body: [] },
  ])('200 with $name is no answer of Kuma', ({ body }) => {
    const failure = failureOf(answer(200, body));
    expect(failure.code).toBe('ANSWER_UNREADABLE');
    expect(failure.message).toBe(`Cannot read the answer to ${ACTION}: not an object`);
  });

  test("404 with Kuma's own error: missing", () => {
    expect(requireAnswer(ACTION, standard(404, 'Could not delete a resource', 'Not found'))).toBe('missing');
  });
});

test.for([
  { type: 'about:blank', title: 'No' },
  { type: 'https://gateway.test/errors', title: 'Could not retrieve a resource' },
  ...['Not Found', '404 page not found', 'Forbidden', 'Unauthorized', 'Gone', 'Method Not Allowed'].map(
    (title) => ({
      title,
    }),
  ),
])('the problem document %o of another program is no word of Kuma’s', (problem) => {
  for (const status of [401, 403, 404, 410]) {
    const given = answer(status, { ...problem, status, detail: 'no route' });
    expect(failureOf(given).code).toBe('ANSWER_UNREADABLE');
  }
});

describe('requireAnswer(): failure', () => {
  test.for<{
    readonly given: RestAnswer;
    readonly code: ErrorCode;
    readonly says: string;
    readonly details?: ErrorDetails;
  }>([
    {
      given: answer(301),
      code: 'ENDPOINT_REJECTED',
      says: 'status 301, no error of Kuma’s (redirects are not followed with credentials)',
    },
    {
      given: answer(304),
      code: 'ENDPOINT_REJECTED',
      says: 'status 304, no error of Kuma’s (redirects are not followed with credentials)',
    },
    {
      given: standard(400, 'Could not process a resource', 'Resource is not valid'),
      code: 'ENDPOINT_REJECTED',
      says: 'status 400, Could not process a resource: Resource is not valid',
    },
    {
      given: standard(401, 'Invalid authentication data', 'Unauthenticated'),
      code: 'ENDPOINT_REJECTED',
      says: 'status 401, Invalid authentication data: Unauthenticated (the user token is not valid here; a dataplane token never is)',
    },
    {
      given: standard(403, 'Access Denied'),
      code: 'ENDPOINT_REJECTED',
      says: 'status 403, Access Denied (the user may not do this)',
    },
    {
      given: standard(405, 'Method not allowed'),
      code: 'ENDPOINT_REJECTED',
      says: 'status 405, Method not allowed (this is a global or a read-only control plane; dataplanes belong to the zone control plane)',
    },
    { given: answer(408), code: 'ENDPOINT_BUSY', says: 'status 408, no error of Kuma’s' },
    { given: standard(409, 'Conflict'), code: 'ENDPOINT_BUSY', says: 'status 409, Conflict' },
    {
      given: answer(405, METHOD_NOT_ALLOWED),
      code: 'ENDPOINT_REJECTED',
      says: 'status 405, no error of Kuma’s (this is a global or a read-only control plane; dataplanes belong to the zone control plane)',
    },
    ...[400, 401, 403, 404, 405, 410, 413, 431, 451].map((status) => ({
      given: answer(status),
      code: 'ANSWER_UNREADABLE' as const,
      says: `status ${status}, no error of Kuma’s: another program answered, perhaps a load balancer`,
    })),
    { given: answer(425), code: 'ENDPOINT_BUSY', says: 'status 425, no error of Kuma’s' },
    { given: answer(429), code: 'ENDPOINT_BUSY', says: 'status 429, no error of Kuma’s' },
    { given: answer(499), code: 'ENDPOINT_BUSY', says: 'status 499, no error of Kuma’s' },
    {
      given: standard(500, 'Could not delete a resource', 'Internal Server Error'),
      code: 'ENDPOINT_BUSY',
      says: 'status 500, Could not delete a resource: Internal Server Error',
    },
    { given: answer(502), code: 'ENDPOINT_BUSY', says: 'status 502, no error of Kuma’s' },
    { given: answer(503), code: 'ENDPOINT_BUSY', says: 'status 503, no error of Kuma’s' },
    { given: answer(504), code: 'ENDPOINT_BUSY', says: 'status 504, no error of Kuma’s' },
  ])('$given.status: $code, $says', ({ given, code, says }) => {
    const failure = failureOf(given);
    expect(failure.message).toBe(`Cannot ${ACTION}: ${says}`);
    expect({ code: failure.code, details: failure.details }).toEqual({
      code,
      details: { status: given.status },
    });
    expect(failure.retryable).toBe(code !== 'ENDPOINT_REJECTED');
  });

  test.for<{ readonly name: string; readonly body: unknown }>([
    { name: 'nothing', body: undefined },
    { name: 'an error of another server', body: { error: 'no such route' } },
    { name: 'a text', body: '404 page not found' },
  ])('404 with $name does not say that the object is missing', ({ body }) => {
    const failure = failureOf(answer(404, body));
    expect(failure.code).toBe('ANSWER_UNREADABLE');
    expect(failure.message).toContain(`Cannot ${ACTION}: status 404, no error of Kuma’s`);
  });

  test.for([
    { header: '2', retryAfterMs: 2_000 },
    { header: '0', retryAfterMs: 0 },
    { header: 'Wed, 21 Oct 2026 07:28:00 GMT', retryAfterMs: undefined },
    { header: '-1', retryAfterMs: undefined },
    { header: '1.5', retryAfterMs: undefined },
    { header: '', retryAfterMs: undefined },
  ])('Retry-After "$header": $retryAfterMs ms', ({ header, retryAfterMs }) => {
    for (const status of [429, 503]) {
      expect(failureOf(answer(status, undefined, header)).details['retryAfterMs']).toBe(retryAfterMs);
    }
  });
});

describe.for(RECORDED_VERSIONS)('requireAnswer() of the answers of %s', (version) => {
  const recorded = (name: string): RestAnswer => ({
    ...recordedAnswer(version, name),
    retryAfter: undefined,
  });

  test.for([
    { name: 'dataplane', outcome: 'found' },
    { name: 'delete', outcome: 'found' },
    { name: 'put-undo', outcome: 'found' },
    { name: 'delete-missing', outcome: 'missing' },
    { name: 'delete-missing-mesh', outcome: 'missing' },
  ])('$name: $outcome', ({ name, outcome }) => {
    expect(requireAnswer(ACTION, recorded(name))).toBe(outcome);
  });

  test.for([
    { name: 'put-invalid', status: 400 },
    { name: 'invalid-bearer', status: 401 },
    { name: 'anonymous-secret', status: 403 },
  ])('$name: rejected with $status', ({ name, status }) => {
    const { code, details } = failureOf(recorded(name));
    expect({ code, details }).toEqual({ code: 'ENDPOINT_REJECTED', details: { status } });
  });
});
