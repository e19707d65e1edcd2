import { OperationalError } from '../../kernel/errors.ts';

/** Where a listener listens. A Unix socket's `mode` says who may connect. */
export type ListenerAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number };

/** Only its owner. */
const DEFAULT_MODE = 0o600;

/** `sun_path` has 108 bytes, the last of which is a NUL. Node would cut a longer path off without a word. */
const LONGEST_PATH_BYTES = 107;

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
 *
 * @throws OperationalError `CONFIG_INVALID`
 */
export function parseListenerAddress(text: string, mode = DEFAULT_MODE): ListenerAddress {
  if (text.startsWith('unix:')) return unixAddress(text.slice('unix:'.length), mode);
  const parts = /^(?:\[(?<v6>[\da-fA-F:.]+)\]|(?<host>[^:[\]/\s]+)):(?<port>\d{1,5})$/.exec(text)?.groups;
  const host = parts?.['v6'] ?? parts?.['host'];
  const port = Number(parts?.['port']);
  if (host === undefined || port > 65_535)
    throw invalid(`Cannot listen on "${text}": HOST:PORT, [IPV6]:PORT or unix:PATH is expected`);
  return { kind: 'tcp', host, port };
}

/** As {@link parseListenerAddress} reads it. */
export function formatListenerAddress(address: ListenerAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether only this host can connect to it: what it says may go unencrypted. */
export function isLocal(address: ListenerAddress): boolean {
  return address.kind === 'unix' || isLoopback(address.host);
}

/** A name other than `localhost` is not: it may mean something else tomorrow. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function unixAddress(path: string, mode: number): ListenerAddress {
  if (path === '') throw invalid('Cannot listen on "unix:": a path is expected');
  const bytes = new TextEncoder().encode(path).length;
  if (bytes > LONGEST_PATH_BYTES)
    throw invalid(
      `Cannot listen on "unix:${path}": the path has ${bytes} bytes, a Unix socket's at most ${LONGEST_PATH_BYTES}`,
    );
  return { kind: 'unix', path, mode };
}

function invalid(message: string): OperationalError {
  return new OperationalError('CONFIG_INVALID', message);
}
