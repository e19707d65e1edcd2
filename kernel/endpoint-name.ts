/** How logs, metrics and state files name an endpoint: the whole URL, since two may share an origin and differ in path. */
export function endpointName({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname.replace(/\/+$/, '')}`;
}

/** Paths are appended to the URL, so a query or fragment would be lost. */
export function queryProblem(text: string): string | undefined {
  return /[?#]/.test(text) ? 'takes no query and no fragment: scheme, host, port and path only' : undefined;
}
