import * as z from 'zod/mini';

import { OperationalError } from '../kernel/errors.ts';
import { isObject } from '../kernel/json.ts';

/** An answer of the API server. `body` is the parsed JSON, or `undefined` for an empty one. */
export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  /** Seconds or a date, as the server wrote it. */
  readonly retryAfter: string | undefined;
  /** The server's clock when it answered, ms since the epoch, cut to the second; `undefined` if it did not say. */
  readonly clockMs?: number | undefined;
}

/** As RFC 9110 names the statuses that are told apart here. */
const REASON_PHRASE =
  /^(?:\d{3}:? )?(?:bad request|unauthorized|forbidden|(?:page )?not found|method not allowed|gone)$/i;

/**
 * The body of every error of Kuma's API server. Type and title tell it from the problem documents of other programs
 * (RFC 9457), such as a gateway that has no route: those name a type of their own, or title it by its status.
 *
 * @see kuma pkg/core/rest/errors/types/errors.go
 */
const StandardError = z
  .looseObject({
    type: z.optional(z.literal('/std-errors')),
    status: z.number(),
    title: z.string(),
    detail: z.optional(z.string()),
  })
  .check(z.refine(({ type, title }) => type !== undefined || !REASON_PHRASE.test(title)));

/** What a failed request means for the operator. Keyed by status. */
const REMEDIES: Readonly<Record<number, string>> = {
  401: 'the user token is not valid here; a dataplane token never is',
  403: 'the user may not do this',
  405: 'this is a global or a read-only control plane; dataplanes belong to the zone control plane',
};

/** The plain-text answer of Kuma's router to an unsupported method. */
export const METHOD_NOT_ALLOWED = '405: Method Not Allowed';

/** Statuses after which the same request may succeed later. Kuma answers 409 to a write that lost a race, 499 if it cancelled. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([408, 409, 425, 429, 499]);

/**
 * Sorts an answer of the API server.
 *
 * @returns whether the thing asked for is there
 * @throws {@link OperationalError} `ENDPOINT_BUSY` (try again, `details.retryAfterMs` says when, if the server did),
 * `ENDPOINT_REJECTED` (do not), `ANSWER_UNREADABLE` (nothing that Kuma would write: a proxy or a load balancer may have
 * answered, so try again)
 */
export function requireAnswer(action: string, answer: RestAnswer): 'found' | 'missing' {
  const { status, body } = answer;
  if (status >= 200 && status < 300) {
    if (body === undefined || isObject(body)) return 'found';
    throw new OperationalError('ANSWER_UNREADABLE', `Cannot read the answer to ${action}: not an object`);
  }
  const standard = z.safeParse(StandardError, body);
  if (status === 404 && standard.success) return 'missing';
  throw rejection(action, answer, standard.success ? standard.data : undefined);
}

function rejection(
  action: string,
  answer: RestAnswer,
  standard: { readonly title: string; readonly detail?: string | undefined } | undefined,
): OperationalError {
  const { status } = answer;
  const said =
    standard === undefined
      ? 'no error of Kuma’s'
      : [standard.title, standard.detail].filter(Boolean).join(': ');
  if (status >= 500 || PASSING_STATUSES.has(status)) {
    const retryAfterMs = readRetryAfter(answer.retryAfter);
    return new OperationalError('ENDPOINT_BUSY', `Cannot ${action}: status ${status}, ${said}`, {
      details: { status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
    });
  }
  const isRedirect = status >= 300 && status < 400;
  if (standard === undefined && !isRedirect && answer.body !== METHOD_NOT_ALLOWED) {
    return new OperationalError(
      'ANSWER_UNREADABLE',
      `Cannot ${action}: status ${status}, ${said}: another program answered, perhaps a load balancer`,
      { details: { status } },
    );
  }
  const remedy = isRedirect ? 'redirects are not followed with credentials' : REMEDIES[status];
  return new OperationalError(
    'ENDPOINT_REJECTED',
    `Cannot ${action}: status ${status}, ${said}${remedy === undefined ? '' : ` (${remedy})`}`,
    { details: { status } },
  );
}

/** Only the form in seconds: a date would need a clock that agrees with the server's. */
function readRetryAfter(header: string | undefined): number | undefined {
  return header !== undefined && /^\d+$/.test(header) ? Number(header) * 1_000 : undefined;
}
