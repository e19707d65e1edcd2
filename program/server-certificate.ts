import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions, type Server, type TlsOptions } from 'node:tls';

import type { Clock } from '../kernel/clock.ts';
import { describeError, OperationalError } from '../kernel/errors.ts';
import { KeptFiles } from './kept-files.ts';
import { readRegularFileSync } from './regular-file.ts';

export interface CertificateFiles {
  /** PEM, the server's own first. */
  readonly certificateFile: string;
  readonly keyFile: string;
  /** PEM. With it, a client must bring a certificate that one of these has signed. */
  readonly clientCaFile: string | undefined;
}

export interface CertificateEvents {
  certificateReloaded(file: string, expiresAtMs: number): void;
  /** Called once for each unusable new content: the previous files stay in use. */
  certificateBroken(file: string, err: unknown): void;
}

/** How often the files are looked at. A renewed certificate is in force within that time. */
const CHECK_MS = 30_000;

interface Material {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
  /** ms since the epoch */
  readonly expiresAtMs: number;
}

/** The server's certificate. New connections use the current files; open ones keep theirs. */
export class ServerCertificate {
  readonly #names: CertificateFiles;
  readonly #files: KeptFiles<Material>;
  readonly #events: CertificateEvents;
  readonly #servers = new Set<Server>();

  /** @throws OperationalError `CONFIG_INVALID` if the files cannot be used */
  constructor(names: CertificateFiles, events: CertificateEvents) {
    const { certificateFile, keyFile, clientCaFile } = names;
    this.#names = names;
    this.#events = events;
    try {
      this.#files = new KeptFiles({
        paths: [certificateFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])],
        load: () => readMaterial(names),
        onKept: (_paths, err) => {
          events.certificateBroken(certificateFile, err);
        },
      });
    } catch (cause) {
      const message = `Cannot use the certificate of ${certificateFile}: ${describeError(cause)}`;
      throw new OperationalError('CONFIG_INVALID', message, { cause });
    }
  }

  /** When the certificate in use expires, ms since the epoch. */
  get expiresAtMs(): number {
    return this.#files.current.expiresAtMs;
  }

  /** Looks at the files now. */
  reload(): void {
    if (!this.#files.refresh()) return;
    for (const server of this.#servers) server.setSecureContext(contextOf(this.#files.current));
    this.#events.certificateReloaded(this.#names.certificateFile, this.expiresAtMs);
  }

  /** Looks at the files every now and then. @returns what ends it */
  watch(clock: Clock, intervalMs = CHECK_MS): () => void {
    let disarm: () => void;
    const arm = (): void => {
      disarm = clock.after(intervalMs, () => {
        this.reload();
        arm();
      });
    };
    arm();
    return () => {
      disarm();
    };
  }

  /** The options of a new TLS server; {@link renewing} updates it. */
  get options(): TlsOptions {
    return {
      ...contextOf(this.#files.current),
      minVersion: 'TLSv1.2',
      requestCert: this.#names.clientCaFile !== undefined,
      rejectUnauthorized: true,
    };
  }

  /** Gives `server` the content of new files until it closes. */
  renewing<S extends Server>(server: S): S {
    this.#servers.add(server);
    server.once('close', () => {
      this.#servers.delete(server);
    });
    return server;
  }
}

/** @throws if the key is not the certificate's */
function readMaterial({ certificateFile, keyFile, clientCaFile }: CertificateFiles): Material {
  const cert = readRegularFileSync(certificateFile);
  const key = readRegularFileSync(keyFile);
  const ca = clientCaFile === undefined ? undefined : readRegularFileSync(clientCaFile);
  createSecureContext(contextOf({ cert, key, ca }));
  if (ca !== undefined) void new X509Certificate(ca);
  return { cert, key, ca, expiresAtMs: new X509Certificate(cert).validToDate.getTime() };
}

function contextOf({ cert, key, ca }: Omit<Material, 'expiresAtMs'>): SecureContextOptions {
  return { cert, key, ...(ca === undefined ? {} : { ca }) };
}
