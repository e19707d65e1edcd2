import { createSecureContext } from 'node:tls';

import { describeError, OperationalError } from '../kernel/errors.ts';
import type { EndpointTls } from './connection-pool.io.ts';
import { certificatesIn } from './credentials.ts';
import { KeptFiles, type OnFileKept } from '../program/kept-files.ts';
import { readRegularFileSync } from '../program/regular-file.ts';

export interface TlsFileNames {
  readonly caFile?: string | undefined;
  /** PEM; used where there is no file. */
  readonly ca?: string | undefined;
  readonly clientCertificateFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
  readonly skipVerify?: boolean;
}

interface Content {
  readonly ca: string | undefined;
  readonly clientCertificate: string | undefined;
  readonly clientKey: string | undefined;
}

/**
 * Certificates and a key from files that may be replaced while the program runs.
 *
 * @throws `CONFIG_INVALID` for a file that cannot be used
 */
export function tlsFiles(names: TlsFileNames, onKept: OnFileKept): Required<EndpointTls> {
  const files = new KeptFiles({ paths: pathsOf(names), load: () => readAll(names), onKept });
  return {
    skipVerify: names.skipVerify ?? false,
    get ca() {
      return files.current.ca;
    },
    get clientCertificate() {
      return files.current.clientCertificate;
    },
    get clientKey() {
      return files.current.clientKey;
    },
    refresh: () => files.refresh(),
  };
}

function pathsOf({ caFile, clientCertificateFile, clientKeyFile }: TlsFileNames): readonly string[] {
  return [caFile, clientCertificateFile, clientKeyFile].filter((path) => path !== undefined);
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
