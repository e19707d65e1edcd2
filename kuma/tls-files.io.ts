import { createSecureContext } from 'node:tls';

import { describeError, OperationalError } from '../kernel/errors.ts';
import type { EndpointTls } from './connection-pool.io.ts';
import { certificatesIn } from './credentials.ts';
import { readRegularFileSync, versionOfSync } from '../program/regular-file.ts';

export interface TlsFileNames {
  readonly caFile?: string | undefined;
  /** PEM; used where there is no file. */
  readonly ca?: string | undefined;
  readonly clientCertificateFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
  readonly skipVerify?: boolean;
}

/** Called once for each unusable content of a file. The last good content stays in use. */
export type OnFileKept = (path: string, err: unknown) => void;

interface Content {
  readonly ca: string | undefined;
  readonly clientCertificate: string | undefined;
  readonly clientKey: string | undefined;
}

/**
 * Certificates and a key from files that may be replaced while the program runs. They are read only on request, so that
 * a stop touches no disk. If a file is broken or missing, the last good content stays in use.
 */
export class TlsFiles implements EndpointTls {
  readonly skipVerify: boolean;
  readonly #names: TlsFileNames;
  readonly #onKept: OnFileKept;
  #content: Content;
  #versions: string;
  #problem: string | undefined;

  /** @throws `CONFIG_INVALID` for a file that cannot be used */
  constructor(names: TlsFileNames, onKept: OnFileKept) {
    this.skipVerify = names.skipVerify ?? false;
    this.#names = names;
    this.#onKept = onKept;
    this.#versions = versionsOf(names);
    this.#content = readAll(names);
  }

  get ca(): string | undefined {
    return this.#content.ca;
  }

  get clientCertificate(): string | undefined {
    return this.#content.clientCertificate;
  }

  get clientKey(): string | undefined {
    return this.#content.clientKey;
  }

  /** @returns whether the content in force is another one now */
  refresh(): boolean {
    const versions = versionsOf(this.#names);
    if (versions === this.#versions) return false;
    try {
      const content = readAll(this.#names);
      const changed = JSON.stringify(content) !== JSON.stringify(this.#content);
      this.#content = content;
      this.#versions = versions;
      this.#problem = undefined;
      return changed;
    } catch (error) {
      const problem = describeError(error);
      if (problem !== this.#problem) this.#onKept(pathsOf(this.#names).join(', '), error);
      this.#problem = problem;
      return false;
    }
  }
}

function pathsOf({ caFile, clientCertificateFile, clientKeyFile }: TlsFileNames): readonly string[] {
  return [caFile, clientCertificateFile, clientKeyFile].filter((path) => path !== undefined);
}

function versionsOf(names: TlsFileNames): string {
  return pathsOf(names).map(versionOfSync).join('; ');
}

function readAll({ caFile, ca, clientCertificateFile, clientKeyFile }: TlsFileNames): Content {
  const content = {
    ca: caFile === undefined ? ca : certificatesIn(`CA file "${caFile}"`, read(caFile)),
    clientCertificate:
      clientCertificateFile === undefined
        ? undefined
        : certificatesIn(`client certificate file "${clientCertificateFile}"`, read(clientCertificateFile)),
    clientKey: clientKeyFile === undefined ? undefined : read(clientKeyFile).toString(),
  };
  requireUsable(content, describeFiles(clientCertificateFile, clientKeyFile, caFile));
  return content;
}

function describeFiles(...[certificate, key, ca]: readonly (string | undefined)[]): string {
  if (certificate === undefined) return `CA file "${ca}"`;
  return `the client certificate "${certificate}" with the key "${key}"`;
}

/** Between the replacement of a certificate and of its key, the two do not fit. */
function requireUsable({ ca, clientCertificate, clientKey }: Content, files: string): void {
  try {
    createSecureContext({
      ...(ca === undefined ? {} : { ca }),
      ...(clientCertificate === undefined ? {} : { cert: clientCertificate }),
      ...(clientKey === undefined ? {} : { key: clientKey }),
    });
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot use ${files}: ${describeError(cause)}`, { cause });
  }
}

function read(path: string): Buffer {
  try {
    return readRegularFileSync(path);
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read "${path}"`, { cause });
  }
}
