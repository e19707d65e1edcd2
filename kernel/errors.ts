interface ErrorTraits {
  /** Whether the same call may succeed later without a change by the operator. */
  readonly retryable: boolean;
  /** First sentence of the entry in docs/operate/messages.md; a test keeps the two in step. */
  readonly summary: string;
  /** The first thing to check, in the words of docs/operate/messages.md; for one line. */
  readonly hint?: string;
}

/** The closed set of failures this project reports. Adding one means adding it to docs/operate/messages.md. */
export const ERROR_CODES = {
  CONFIG_INVALID: {
    retryable: false,
    summary: 'A flag or environment variable is missing or malformed',
    hint: 'correct what the message names',
  },
  DEADLINE_EXCEEDED: {
    retryable: true,
    summary: 'An operation did not finish within its time budget',
    hint: 'look whether the control plane is overloaded or a firewall drops packets',
  },
  ENDPOINT_UNREACHABLE: {
    retryable: true,
    summary: 'A connection to an endpoint could not be made, or was lost',
    hint: 'check address and port, firewall and name resolution',
  },
  ENDPOINT_UNTRUSTED: {
    retryable: false,
    summary: 'The TLS handshake with an endpoint failed',
    hint: 'the certificate must be valid for the host in the URL and signed by the CA that kuma-dp uses, or the one in --ca-file',
  },
  ENDPOINT_BUSY: { retryable: true, summary: 'An endpoint answered that it cannot serve the request now' },
  ENDPOINT_REJECTED: {
    retryable: false,
    summary: 'An endpoint refused the request',
    hint: 'correct --endpoint, --user-token-file or the dataplane token',
  },
  ANSWER_UNREADABLE: {
    retryable: true,
    summary: 'An endpoint answered in a way that no Kuma control plane does',
    hint: 'request the URL in the message by hand and see who answers',
  },
  DATAPLANE_FOREIGN: {
    retryable: false,
    summary: 'The Dataplane object belongs to another run and stays as it is',
    hint: 'if two hosts use the same name by mistake, rename one',
  },
  STATE_UNUSABLE: {
    retryable: false,
    summary: 'The state file cannot be read, or is not of this boot of this host',
  },
  CONTROL_UNAVAILABLE: {
    retryable: false,
    summary: 'The control socket of an agent cannot be created, or its agent does not answer',
  },
  STORE_UNAVAILABLE: {
    retryable: true,
    summary: 'The store of the companion is unavailable',
    hint: 'bring the database back, or make room on the disk',
  },
  STORE_BUSY: { retryable: true, summary: 'Another caller has locked the same dataplane for too long' },
  STORE_UNUSABLE: {
    retryable: false,
    summary: 'The store cannot be used: another process has it, it is damaged, or it is of a newer version',
  },
  FENCE_LOST: {
    retryable: true,
    summary: 'A deletion was cancelled because its lock on the name may have ended',
  },
  REQUEST_INVALID: { retryable: false, summary: 'A request to the companion is malformed' },
  LIMIT_EXCEEDED: { retryable: true, summary: 'The companion has reached a limit' },
  UNAUTHENTICATED: { retryable: false, summary: 'The caller has no valid dataplane token' },
  PERMISSION_DENIED: { retryable: false, summary: 'The dataplane token is not for this dataplane' },
  LISTENER_FAILED: { retryable: false, summary: 'The program cannot listen on an address' },
  CANCELLED: {
    retryable: false,
    summary: 'An operation was cancelled because its result was no longer needed',
  },
} as const satisfies Record<string, ErrorTraits>;

export type ErrorCode = keyof typeof ERROR_CODES;

export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

/**
 * A failure that a caller or an operator is expected to act on. Bugs stay plain `TypeError`/`RangeError`.
 *
 * Messages are sentence case without a final period, name the action that failed, and put current values after a
 * colon. Numbers carry units.
 */
export class OperationalError extends Error {
  override readonly name = 'OperationalError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  get hint(): string | undefined {
    const { hint }: ErrorTraits = ERROR_CODES[this.code];
    return hint;
  }
}

/** The message of a thrown value, with the messages of its causes, for one line of a log or a report. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const said = nameTlsFault(error.message.replace(ADVICE_OF_NODE, ''));
  const own = said === '' ? ((error as NodeJS.ErrnoException).code ?? error.name) : said;
  if (error.cause === undefined) return own;
  const cause = describeError(error.cause);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

/** It names an option of Node, which the operator does not start. */
const ADVICE_OF_NODE = /; if the root CA is installed locally, try running Node\.js with --use-system-ca$/;

/** As Node passes them on: `write EPROTO 40…:error:0A00010B:SSL routines:tls_…:wrong version number:../deps/…:77:`. */
const OPENSSL_LINE =
  /(?:(?:write|read) )?EPROTO [0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):\S*?:\d+:[^\n]*\n?/g;

/** OpenSSL's reasons whose cause is known. */
const TLS_FAULTS: readonly (readonly [reason: RegExp, fault: string])[] = [
  [
    /wrong version number|packet length too long|http request|unknown protocol/,
    'the other side does not speak TLS: the scheme or the port of the URL is wrong',
  ],
  [
    /alert certificate required|alert bad certificate/,
    'the server requires a client certificate that it trusts',
  ],
  [/alert unknown ca/, 'the server does not trust the CA of the client certificate'],
  [
    /alert protocol version|unsupported protocol/,
    'the server and this program have no TLS version in common',
  ],
  [/alert handshake failure|no shared cipher/, 'the server refuses the TLS handshake'],
];

/** Replaces OpenSSL's own words, which no operator can use. */
export function nameTlsFault(message: string): string {
  return message.replace(OPENSSL_LINE, (_line, reason: string) => {
    const known = TLS_FAULTS.find(([pattern]) => pattern.test(reason));
    return known?.[1] ?? `TLS: ${reason}`;
  });
}

export function hasCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof OperationalError && error.code === code;
}
