import got, { HTTPError, RequestError, type Got } from 'got';

import { describeError, OperationalError } from '../kernel/errors.ts';
import { connectionPool, type ConnectionPool, type EndpointTls } from './connection-pool.ts';

/** An answer of the API server. `body` is the parsed JSON, or `undefined` for an empty one. */
export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  /** Seconds or a date, as the server wrote it. */
  readonly retryAfter: string | undefined;
}

export interface RestClientOptions {
  /** `http://127.0.0.1:5681` or `https://cp.example:5682`; a path in front of Kuma's is kept. */
  readonly url: URL;
  readonly tls: EndpointTls;
  /** A *user* token. A dataplane token never goes here: Kuma answers 401 to it and it may be logged on the way. */
  readonly userToken: () => string | undefined;
}

/**
 * Kuma's REST API, one attempt per call: retries and deadlines are the caller's. Redirects are not followed, since
 * they would carry the credential elsewhere.
 *
 * @see https://kuma.io/docs/latest/reference/http-api/
 */
export class RestClient {
  readonly #got: Got;
  readonly #pool: ConnectionPool;
  readonly #userToken: () => string | undefined;

  constructor(options: RestClientOptions) {
    this.#pool = connectionPool(options.tls);
    this.#userToken = options.userToken;
    this.#got = got.extend({
      prefixUrl: options.url,
      agent: this.#pool.agents,
      https: this.#pool.https,
      retry: { limit: 0 },
      followRedirect: false,
      throwHttpErrors: false,
      decompress: false,
      responseType: 'text',
      headers: { accept: 'application/json', 'user-agent': 'kuma-dp-agent' },
    });
  }

  get(path: string, signal: AbortSignal): Promise<RestAnswer> {
    return this.#send(path, { method: 'GET', signal });
  }

  delete(path: string, signal: AbortSignal): Promise<RestAnswer> {
    return this.#send(path, { method: 'DELETE', signal });
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
  async #send(path: string, init: Attempt): Promise<RestAnswer> {
    const token = this.#userToken();
    const action = `${init.method} ${path}`;
    try {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await this.#got(path, { ...init, headers });
      return {
        status: response.statusCode,
        body: readBody(action, response.statusCode, response.body),
        retryAfter: response.headers['retry-after'],
      };
    } catch (error) {
      if (init.signal.aborted) throw init.signal.reason;
      throw toOperationalError(action, error);
    }
  }
}

interface Attempt {
  readonly method: 'GET' | 'DELETE' | 'PUT';
  readonly json?: unknown;
  readonly signal: AbortSignal;
}

function readBody(action: string, status: number, text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    // A failure is a failure in any words. Only "not found" must be Kuma's own: it counts as a success here.
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
  if (!(error instanceof RequestError) || error instanceof HTTPError) return error;
  const code = TLS_CODES.test(error.code) ? 'ENDPOINT_UNTRUSTED' : 'ENDPOINT_UNREACHABLE';
  return new OperationalError(code, `Cannot ${action}: ${describeError(error)}`, {
    cause: error,
    details: { cause: error.code },
  });
}
