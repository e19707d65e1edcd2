import dns from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';

/** PEM texts in memory, so that a stop touches no disk. They change when files are read again. */
export interface EndpointTls {
  /** The system's roots apply if this is absent. */
  readonly ca: string | undefined;
  readonly clientCertificate: string | undefined;
  readonly clientKey: string | undefined;
  readonly skipVerify: boolean;
  /** Reads changed files again. @returns whether anything changed */
  refresh?(): boolean;
}

export interface ConnectionPool {
  readonly agents: { readonly http: http.Agent; readonly https: https.Agent };
  readonly https: {
    readonly rejectUnauthorized: boolean;
    readonly certificateAuthority?: string;
    readonly certificate?: string;
    readonly key?: string;
  };
  close(): void;
}

/**
 * Connections to one endpoint that outlive a request, and a name lookup that outlives the resolver. The addresses of an
 * earlier lookup are used when the name server does not answer, which may happen while a host shuts down.
 *
 * @param idleConnections how many are kept while no request runs
 */
export function connectionPool(tls: EndpointTls, idleConnections = 2): ConnectionPool {
  const shared = { keepAlive: true, maxFreeSockets: idleConnections, lookup: rememberingLookup() };
  const agents = { http: new http.Agent(shared), https: new https.Agent(shared) };
  return {
    agents,
    // Called for each request; an open connection keeps its credentials.
    get https() {
      return {
        rejectUnauthorized: !tls.skipVerify,
        ...(tls.ca === undefined ? {} : { certificateAuthority: tls.ca }),
        ...(tls.clientCertificate === undefined ? {} : { certificate: tls.clientCertificate }),
        ...(tls.clientKey === undefined ? {} : { key: tls.clientKey }),
      };
    },
    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/** How long a stop waits for the name server before it uses the addresses that it knows. */
const LOOKUP_PATIENCE_MS = 250;

function rememberingLookup(): LookupFunction {
  const known = new Map<string, dns.LookupAddress[]>();
  return (hostname, options, callback) => {
    const remembered = known.get(hostname);
    let answered = false;
    const answer = (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]): void => {
      if (answered) return;
      answered = true;
      clearTimeout(patience);
      const [first] = addresses;
      if (options.all === true) callback(error, addresses);
      else callback(error, first?.address ?? '', first?.family ?? 0);
    };
    // oxlint-disable-next-line no-restricted-globals -- a bound on getaddrinfo, which cannot be cancelled
    const patience = setTimeout(() => {
      if (remembered !== undefined) answer(null, remembered);
    }, LOOKUP_PATIENCE_MS);
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error === null) known.set(hostname, addresses);
      if (error !== null && remembered !== undefined) answer(null, remembered);
      else answer(error, error === null ? addresses : []);
    });
  };
}
