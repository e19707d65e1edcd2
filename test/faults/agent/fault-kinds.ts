import type { FaultAction } from '../../support/kuma/faults.ts';

const html = '<html><body>Not here</body></html>';

export interface FaultKind {
  readonly name: string;
  /** The fault that the agent's requests about its object meet. */
  readonly action: FaultAction;
  /** Whether the same request may succeed later, so that it is worth another attempt. */
  readonly retried: boolean;
}

export function answer(status: number, headers: Record<string, string> = {}, body = ''): FaultAction {
  return { kind: 'answer', status, headers, body };
}

/** In Kuma's own words. */
function refusal(status: number): FaultAction {
  return answer(status, {}, JSON.stringify({ type: '/std-errors', status, title: 'No' }));
}

export const FAULTS: readonly FaultKind[] = [
  { name: '500', action: answer(500), retried: true },
  { name: '503 with Retry-After', action: answer(503, { 'retry-after': '1' }), retried: true },
  {
    name: '503 with a date to retry at',
    action: answer(503, { 'retry-after': 'Fri, 31 Dec 2100 23:59:59 GMT' }),
    retried: true,
  },
  { name: '429 with an hour to wait', action: answer(429, { 'retry-after': '3600' }), retried: false },
  { name: '401', action: refusal(401), retried: false },
  { name: '403', action: refusal(403), retried: false },
  { name: '401 without a word', action: answer(401), retried: true },
  { name: '403 as HTML', action: answer(403, { 'content-type': 'text/html' }, html), retried: true },
  { name: '405 as HTML', action: answer(405, { 'content-type': 'text/html' }, html), retried: true },
  {
    name: '405',
    action: answer(405, { 'content-type': 'text/plain' }, '405: Method Not Allowed'),
    retried: false,
  },
  { name: '404 as HTML', action: answer(404, { 'content-type': 'text/html' }, html), retried: true },
  {
    name: '404 as text',
    action: answer(404, { 'content-type': 'text/plain' }, '404: Page Not Found'),
    retried: true,
  },
  {
    name: '404 as a problem of a gateway',
    action: answer(
      404,
      { 'content-type': 'application/problem+json' },
      '{"type":"about:blank","title":"Not Found","status":404}',
    ),
    retried: true,
  },
  {
    name: '403 as a problem of a gateway',
    action: answer(403, {}, '{"type":"https://gateway.test/errors","title":"Forbidden","status":403}'),
    retried: true,
  },
  { name: '302', action: answer(302, { location: 'https://login.test/' }), retried: false },
  { name: '308', action: answer(308, { location: 'https://127.0.0.1/' }), retried: false },
  { name: '410', action: answer(410, { 'content-type': 'text/html' }, html), retried: true },
  { name: '407', action: answer(407, { 'proxy-authenticate': 'Basic' }), retried: true },
  { name: '511', action: answer(511, { 'content-type': 'text/html' }, html), retried: true },
  {
    name: '200 that says to be compressed',
    action: answer(200, { 'content-encoding': 'gzip' }, 'x'),
    retried: true,
  },
  { name: '200 with a list', action: answer(200, {}, '[]'), retried: true },
  { name: '200 as HTML', action: answer(200, { 'content-type': 'text/html' }, html), retried: true },
  { name: '200 with another object', action: answer(200, {}, '{"items":[],"total":0}'), retried: true },
  { name: '204', action: answer(204), retried: true },
  { name: 'half a body', action: { kind: 'half-body' }, retried: true },
  { name: 'a reset', action: { kind: 'reset' }, retried: true },
  { name: 'no answer', action: { kind: 'hang' }, retried: true },
  { name: 'an answer that takes too long', action: { kind: 'slow', delayMs: 20_000 }, retried: true },
];

/** One of each kind, for tests on processes. */
export const KINDS = FAULTS.filter(({ name }) =>
  ['503 with Retry-After', '401', '200 as HTML', 'half a body', 'a reset', 'no answer'].includes(name),
);
