import { OperationalError } from '../../kernel/errors.ts';
import { tlsFiles } from '../../kuma/tls-files.io.ts';

/** Without credentials. */
export function describePlace(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `the database ${hostname}${port === '' ? '' : `:${port}`}${pathname}`;
}

/** `sslmode` as libpq reads it: without this parameter, the client library takes every mode for `verify-full`. */
export function connectionString(url: string): string {
  const parsed = new URL(url);
  if (!parsed.searchParams.has('sslmode') || parsed.searchParams.has('uselibpqcompat')) return url;
  parsed.searchParams.set('uselibpqcompat', 'true');
  // Node trusts its own roots and those of SSL_CERT_FILE. There is no file with the name `system`.
  if (parsed.searchParams.get('sslrootcert') === 'system') parsed.searchParams.delete('sslrootcert');
  return parsed.href;
}

/** @throws `CONFIG_INVALID` for a certificate or a key of the URL that cannot be used */
export function requireUsableFiles(url: string): void {
  const { searchParams } = new URL(connectionString(url));
  const named = (name: string): string | undefined => searchParams.get(name) ?? undefined;
  void tlsFiles(
    { caFile: named('sslrootcert'), clientCertificateFile: named('sslcert'), clientKeyFile: named('sslkey') },
    () => {},
  );
}

/**
 * A certificate file of the URL that has disappeared since the program started. @returns `undefined` for any other
 * error
 */
export function unreadableFile(error: unknown): OperationalError | undefined {
  const { path, code } = error as NodeJS.ErrnoException;
  if (path === undefined || code === undefined) return undefined;
  return new OperationalError('STORE_UNAVAILABLE', `Cannot read "${path}" of the store's URL: ${code}`, {
    cause: error,
  });
}
