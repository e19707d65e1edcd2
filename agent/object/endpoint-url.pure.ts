import { endpointName, queryProblem } from '../../kernel/endpoint-name.ts';
import { isLoopback } from '../../kernel/listener-address.ts';
import type { OptionReading } from '../../kernel/options.ts';
import type { ProxyType } from '../../kuma/dataplane.ts';

const COMPANION_SCHEMES: ReadonlySet<string> = new Set(['grpc:', 'grpcs:']);
const REST_SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:']);

/** Reads what `--endpoint` was given: Kuma's REST API, or a companion. */
export function readEndpointUrl(text: string): OptionReading<URL> {
  const url = URL.parse(text);
  if (url === null || url.hostname === '') {
    return {
      problem: 'expected a URL such as "https://cp.example:5682" or "grpcs://companion.example:5690"',
    };
  }
  if (url.username !== '' || url.password !== '') {
    return { problem: 'no credentials in the URL: use --user-token-file' };
  }
  const query = queryProblem(text);
  if (query !== undefined) return { problem: query };
  if (REST_SCHEMES.has(url.protocol)) return { value: url };
  // For a scheme that browsers do not know, URL keeps the host as it was written.
  url.host = url.host.toLowerCase();
  if (!isCompanion(url)) return { problem: 'expected http://, https://, grpc:// or grpcs://' };
  const problem = companionProblem(url);
  return problem === undefined ? { value: url } : { problem };
}

/** Whether this is a companion, and not Kuma's REST API. */
export function isCompanion(url: URL): boolean {
  return COMPANION_SCHEMES.has(url.protocol);
}

export interface EndpointOrder {
  /** In the order in which they are asked. */
  readonly urls: readonly URL[];
  /** Whether `--endpoint` names companions that this proxy cannot use. */
  readonly bypassed: boolean;
}

/**
 * Companions first, then Kuma's REST API. The control plane's own REST API is added only if no usable endpoint is
 * named: a host with companions alone may have no access to the REST port. Kuma 2's zone proxies have zone tokens,
 * which a companion cannot check.
 */
export function orderEndpoints(
  given: readonly URL[],
  { proxyType, fallback }: { readonly proxyType: ProxyType; readonly fallback: URL | undefined },
): EndpointOrder {
  const different = [...new Map(given.map((url) => [endpointName(url), url])).values()];
  const companions = different.filter(isCompanion);
  const rest = different.filter((url) => !isCompanion(url));
  const bypassed = proxyType !== 'dataplane' && companions.length > 0;
  const urls = bypassed ? rest : [...companions, ...rest];
  return { urls: urls.length > 0 || fallback === undefined ? urls : [fallback], bypassed };
}

function companionProblem(url: URL): string | undefined {
  if (url.port === '') return `name its port, as in "${url.protocol}//${url.hostname}:5690"`;
  if (!['', '/'].includes(url.pathname)) {
    return 'a companion has no path: expected scheme, host and port';
  }
  if (url.protocol === 'grpc:' && !isLoopback(url.hostname)) {
    return 'grpc:// would send the dataplane token in clear: use grpcs://, or grpc:// with a loopback address';
  }
  return undefined;
}
