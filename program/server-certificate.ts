import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions, type Server, type TlsOptions } from 'node:tls';

import type { Clock } from '../kernel/clock.ts';
import { describeError, OperationalError } from '../kernel/errors.ts';
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

type Material = Readonly<Record<'cert' | 'key', Buffer> & { ca: Buffer | undefined }>;

/** The server's certificate. New connections use the current files; open ones keep theirs. */
export class ServerCertificate {
  readonly #files: CertificateFiles;
  readonly #events: CertificateEvents;
  readonly #servers = new Set<Server>();
  #inForce: Material;
  #lastRead: Material;
  #lastProblem: string | undefined;
  #expiresAtMs: number;

  /** @throws OperationalError `CONFIG_INVALID` if the files cannot be used */
  constructor(files: CertificateFiles, events: CertificateEvents) {
    this.#files = files;
    this.#events = events;
    try {
      this.#inForce = readMaterial(files);
      this.#lastRead = this.#inForce;
      this.#expiresAtMs = check(this.#inForce);
    } catch (cause) {
      const message = `Cannot use the certificate of ${files.certificateFile}: ${describeError(cause)}`;
      throw new OperationalError('CONFIG_INVALID', message, { cause });
    }
  }

  /** When the certificate in use expires, ms since the epoch. */
  get expiresAtMs(): number {
    return this.#expiresAtMs;
  }

  /** Looks at the files now. */
  reload(): void {
    try {
      const material = readMaterial(this.#files);
      if (isSame(material, this.#lastRead)) {
        if (this.#lastRead === this.#inForce) this.#lastProblem = undefined;
        return;
      }
      // Even if it is broken: a certificate and a key that are replaced one after the other do not fit in between.
      this.#lastRead = material;
      this.#expiresAtMs = check(material);
      this.#inForce = material;
    } catch (error) {
      this.#noteBroken(error);
      return;
    }
    this.#lastProblem = undefined;
    for (const server of this.#servers) server.setSecureContext(contextOf(this.#inForce));
    this.#events.certificateReloaded(this.#files.certificateFile, this.#expiresAtMs);
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
      ...contextOf(this.#inForce),
      minVersion: 'TLSv1.2',
      requestCert: this.#files.clientCaFile !== undefined,
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

  #noteBroken(error: unknown): void {
    const problem = describeError(error);
    if (problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    this.#events.certificateBroken(this.#files.certificateFile, error);
  }
}

function readMaterial(files: CertificateFiles): Material {
  return {
    cert: readRegularFileSync(files.certificateFile),
    key: readRegularFileSync(files.keyFile),
    ca: files.clientCaFile === undefined ? undefined : readRegularFileSync(files.clientCaFile),
  };
}

/** @throws if the key is not the certificate's. @returns when the certificate ends, ms since the epoch */
function check(material: Material): number {
  createSecureContext(contextOf(material));
  if (material.ca !== undefined) void new X509Certificate(material.ca);
  return new X509Certificate(material.cert).validToDate.getTime();
}

function contextOf({ cert, key, ca }: Material): SecureContextOptions {
  return { cert, key, ...(ca === undefined ? {} : { ca }) };
}

function isSame(one: Material, other: Material): boolean {
  const sameCa =
    one.ca === undefined || other.ca === undefined ? one.ca === other.ca : one.ca.equals(other.ca);
  return sameCa && one.cert.equals(other.cert) && one.key.equals(other.key);
}
