import { OperationalError } from './errors.ts';
import type { OptionReading } from './options.ts';

/** The address of a listener. A Unix socket's `mode` decides who may connect. */
export type ListenerAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number };

/** Readable and writable for its owner only. */
const DEFAULT_MODE = 0o600;

/** `sun_path` has 108 bytes, the last of which is a NUL. Node would cut a longer path silently. */
const LONGEST_PATH_BYTES = 107;

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. */
export function readListenerAddress(text: string, mode = DEFAULT_MODE): OptionReading<ListenerAddress> {
  if (text.startsWith('unix:')) return readPath(text.slice('unix:'.length), mode);
  const parts = /^(?:\[(?<v6>[\da-fA-F:.]+)\]|(?<host>[^:[\]/\s]+)):(?<port>\d{1,5})$/.exec(text)?.groups;
  const host = parts?.['v6'] ?? parts?.['host'];
  const port = Number(parts?.['port']);
  if (host === undefined || port > 65_535) return { problem: 'expected HOST:PORT, [IPV6]:PORT or unix:PATH' };
  return { value: { kind: 'tcp', host, port } };
}

/** The same, or `off`. */
export function readListenerAddressOrOff(text: string): OptionReading<ListenerAddress | 'off'> {
  return text === 'off' ? { value: 'off' } : readListenerAddress(text);
}

/**
 * As {@link readListenerAddress}.
 *
 * @throws OperationalError `CONFIG_INVALID`
 */
export function parseListenerAddress(text: string, mode = DEFAULT_MODE): ListenerAddress {
  const reading = readListenerAddress(text, mode);
  if ('value' in reading) return reading.value;
  throw new OperationalError('CONFIG_INVALID', `Cannot listen on "${text}": ${reading.problem}`);
}

/** As {@link readListenerAddress} reads it. */
export function formatListenerAddress(address: ListenerAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether only this host can connect to it. Plain text is safe then. */
export function isLocal(address: ListenerAddress): boolean {
  return address.kind === 'unix' || isLoopback(address.host);
}

/**
 * Whether a host, as in an address or in a URL, is this host only. A name other than `localhost` is not: it may get
 * another address.
 */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return bare === 'localhost' || bare === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare);
}

function readPath(path: string, mode: number): OptionReading<ListenerAddress> {
  if (path === '') return { problem: 'a path is expected after "unix:"' };
  const bytes = new TextEncoder().encode(path).length;
  if (bytes > LONGEST_PATH_BYTES)
    return { problem: `the path has ${bytes} bytes, a Unix socket's at most ${LONGEST_PATH_BYTES}` };
  return { value: { kind: 'unix', path, mode } };
}
