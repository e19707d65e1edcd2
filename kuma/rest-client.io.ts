import got, { HTTPError, RequestError, type Got } from 'got';

import { describeError, hasCode, OperationalError } from '../kernel/errors.ts';
import { METHOD_NOT_ALLOWED, type RestAnswer } from './answers.ts';
import { connectionPool, type ConnectionPool, type EndpointTls } from './connection-pool.io.ts';
import { answerTooLong, sendFenced, type FencedRequest, type PlainAnswer } from './fenced-request.io.ts';

export interface RestClientOptions {
  /** `http://127.0.0.1:5681` or `https://cp.example:5682`; a path in front of Kuma's is kept. */
  readonly url: URL;
  readonly tls: EndpointTls;
  /** A *user* token. A dataplane token never goes here: Kuma answers 401 to it and it may be logged on the way. */
  readonly userToken: () => string | undefined;
  /** The user agent in the server's access log; `kuma-dp-agent` if left out. */
  readonly userAgent?: string;
  /** How many idle connections are kept; by default enough for one process at a time. */
  readonly idleConnections?: number;
  /** Reads without got, which takes a quarter of the CPU time: for programs that read by the thousand. */
  readonly lean?: boolean;
}

/** A page of a thousand dataplanes has a few MiB. An answer without an end must not fill the memory. */
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Kuma's REST API, one attempt per call: retries and deadlines are the caller's. Redirects are not followed, since
 * they would carry the credential elsewhere.
 *
 * @see https://kuma.io/docs/latest/reference/http-api/
 */
export class RestClient {
  readonly #got: Got;
  readonly #pool: ConnectionPool;
  readonly #tls: EndpointTls;
  readonly #userToken: () => string | undefined;
  readonly #base: string;
  readonly #lean: boolean;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: RestClientOptions) {
    this.#base = options.url.href.replace(/\/*$/, '/');
    this.#pool = connectionPool(options.tls, options.idleConnections);
    this.#tls = options.tls;
    this.#userToken = options.userToken;
    this.#lean = options.lean ?? false;
    this.#headers = {
      accept: 'application/json',
      'user-agent': options.userAgent ?? 'kuma-dp-agent',
    };
    this.#got = got.extend({
      prefixUrl: options.url,
      agent: this.#pool.agents,
      retry: { limit: 0 },
      followRedirect: false,
      throwHttpErrors: false,
      decompress: false,
      responseType: 'text',
      headers: this.#headers,
    });
  }

  get(path: string, signal: AbortSignal): Promise<RestAnswer> {
    if (!this.#lean) return this.#send(path, { method: 'GET', signal });
    return this.#sendFenced(path, { method: 'GET', beforeSend: () => {}, signal });
  }

  delete(path: string, signal: AbortSignal): Promise<RestAnswer> {
    return this.#send(path, { method: 'DELETE', signal });
  }

  /** @param beforeSend called with nothing between it and the bytes of the request; if it throws, none is written */
  deleteFenced(path: string, beforeSend: () => void, signal: AbortSignal): Promise<RestAnswer> {
    return this.#sendFenced(path, { method: 'DELETE', beforeSend, signal });
  }

  /** As {@link deleteFenced}. */
  putFenced(
    path: string,
    body: unknown,
    options: { readonly beforeSend: () => void; readonly signal: AbortSignal },
  ): Promise<RestAnswer> {
    return this.#sendFenced(path, { method: 'PUT', body: JSON.stringify(body), ...options });
  }

  put(path: string, body: unknown, signal: AbortSignal): Promise<RestAnswer> {
    return this.#send(path, { method: 'PUT', json: body, signal });
  }

  close(): void {
    this.#pool.close();
  }

  /**
   * @throws {@link OperationalError} `ENDPOINT_UNREACHABLE`, `ENDPOINT_UNTRUSTED`, `ANSWER_UNREADABLE`, or the reason
   * of `signal`
   */
  #send(path: string, init: RestCall): Promise<RestAnswer> {
    return this.#attempt(`${init.method} /${path}`, init.signal, async (action) => {
      using bound = boundAnswer(init.signal);
      const { https } = this.#pool;
      const headers = this.#authorization();
      const request = this.#got(path, { ...init, signal: bound.signal, https, headers });
      const response = await request.on('downloadProgress', bound.onProgress).catch(bound.explain);
      const { statusCode: status, headers: said, body } = response;
      // got gives bytes where the server has compressed its answer, although no request allows that.
      return toRestAnswer(action, { status, headers: said, text: Buffer.from(body).toString() });
    });
  }

  #sendFenced(
    path: string,
    init: Pick<FencedRequest, 'method' | 'body' | 'beforeSend' | 'signal'>,
  ): Promise<RestAnswer> {
    return this.#attempt(`${init.method} /${path}`, init.signal, async (action) => {
      const url = new URL(`${this.#base}${path}`);
      const headers = { ...this.#headers, ...this.#authorization(), ...describeBody(init.body) };
      return toRestAnswer(
        action,
        await sendFenced({ ...init, url, headers, pool: this.#pool, mostBytes: MOST_BYTES }),
      );
    });
  }

  /** A failed handshake is tried once more if the files have changed since. */
  async #attempt(
    action: string,
    signal: AbortSignal,
    send: (action: string) => Promise<RestAnswer>,
  ): Promise<RestAnswer> {
    const once = async (): Promise<RestAnswer> => {
      try {
        return await send(action);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw toOperationalError(action, error);
      }
    };
    try {
      return await once();
    } catch (error) {
      if (hasCode(error, 'ENDPOINT_UNTRUSTED') && this.#tls.refresh?.() === true) return once();
      throw error;
    }
  }

  #authorization(): { readonly authorization?: string } {
    const token = this.#userToken();
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }
}

/** Sent whole; Node would otherwise send it in chunks. */
function describeBody(body: string | undefined): Readonly<Record<string, string>> {
  if (body === undefined) return {};
  return { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
}

/** Ends a call of got that is given up, or whose answer becomes too long. */
function boundAnswer(signal: AbortSignal) {
  const call = new AbortController();
  const giveUp = (): void => {
    call.abort(signal.reason);
  };
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  return {
    signal: call.signal,
    onProgress: ({ transferred }: { readonly transferred: number }): void => {
      if (transferred > MOST_BYTES) call.abort(answerTooLong(MOST_BYTES));
    },
    explain: (error: unknown): never => {
      throw call.signal.reason instanceof OperationalError ? call.signal.reason : error;
    },
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', giveUp);
    },
  };
}

interface RestCall {
  readonly method: 'GET' | 'DELETE' | 'PUT';
  readonly json?: unknown;
  readonly signal: AbortSignal;
}

function toRestAnswer(action: string, { status, headers, text }: PlainAnswer): RestAnswer {
  const clockMs = Date.parse(headers.date ?? '');
  return {
    status,
    body: readBody(action, status, text),
    retryAfter: headers['retry-after'],
    clockMs: Number.isNaN(clockMs) ? undefined : clockMs,
  };
}

function readBody(action: string, status: number, text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (text.trim() === METHOD_NOT_ALLOWED) return METHOD_NOT_ALLOWED;
    // Only "not found" has to be Kuma's own answer, because it counts as success here.
    if (status >= 400 && status !== 404) return undefined;
    throw new OperationalError(
      'ANSWER_UNREADABLE',
      `Cannot read the answer to ${action}: status ${status}, ${text.length} characters that are not JSON: ${JSON.stringify(text.slice(0, 60))}`,
      { cause, details: { status } },
    );
  }
}

const TLS_CODES = /^(ERR_TLS|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_SSL|EPROTO|HOSTNAME_MISMATCH)/;

function toOperationalError(action: string, error: unknown): unknown {
  if (error instanceof OperationalError) return error;
  const cause = codeOf(error);
  if (cause === undefined) return error;
  const code = TLS_CODES.test(cause) ? 'ENDPOINT_UNTRUSTED' : 'ENDPOINT_UNREACHABLE';
  return new OperationalError(code, `Cannot ${action}: ${describeError(error)}`, {
    cause: error,
    details: { cause },
  });
}

/** got's errors of a request, and those of Node's own sockets. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof HTTPError || !(error instanceof Error)) return undefined;
  if (error instanceof RequestError) return error.code;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && !code.startsWith('ERR_INVALID') ? code : undefined;
}
