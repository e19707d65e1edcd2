import { getCACertificates, setDefaultCACertificates } from 'node:tls';

let trusted = false;

/**
 * Trusts Node's own roots and the host's, for everything in this process that names no CA. Node's option
 * `--use-system-ca` would also load them for connections that do name one: 4 MB.
 */
export function trustKnownRoots(): void {
  if (trusted) return;
  trusted = true;
  setDefaultCACertificates(
    (['bundled', 'system', 'extra'] as const).flatMap((source) => getCACertificates(source)),
  );
}
