import { OperationalError } from '../../kernel/errors.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { tokenIn } from '../../kuma/credentials.ts';
import { readRegularFileSync } from '../../program/regular-file.ts';
import { TlsFiles, type OnFileKept } from '../../kuma/tls-files.io.ts';
import { trustKnownRoots } from '../../program/known-roots.ts';
import { DEFAULT_KUMA_API, type ServeOptions } from '../options.ts';

/** The ways to the zone's control planes. */
export interface KumaAccess {
  readonly urls: readonly [URL, ...URL[]];
  readonly tls: EndpointTls;
  readonly userToken: () => string | undefined;
}

/**
 * @param onKept called with a file that becomes unusable
 * @throws {@link OperationalError} `CONFIG_INVALID` for a file that is unusable from the beginning
 */
export function kumaAccess(options: ServeOptions, onKept: OnFileKept = () => {}): KumaAccess {
  const userToken = options.userTokenFile === undefined ? undefined : rereadable(options.userTokenFile);
  const urls = nonEmpty(options.kumaApi);
  const { kumaCaFile: caFile, kumaClientCertificateFile, kumaClientKeyFile } = options;
  if (caFile === undefined && urls.some(({ protocol }) => protocol === 'https:')) trustKnownRoots();
  const files = {
    caFile,
    clientCertificateFile: kumaClientCertificateFile,
    clientKeyFile: kumaClientKeyFile,
  };
  return { urls, tls: new TlsFiles(files, onKept), userToken: () => userToken?.() };
}

/** Reads the small local token file for each use, so that a rotated token applies at once. */
function rereadable(path: string): () => string {
  let last = '';
  const read = (): string => {
    try {
      last = tokenIn(`user token file "${path}"`, readRegularFileSync(path));
    } catch (cause) {
      if (last === '') throw cause instanceof OperationalError ? cause : unreadable(path, cause);
    }
    return last;
  };
  read();
  return read;
}

function unreadable(path: string, cause: unknown): OperationalError {
  return new OperationalError('CONFIG_INVALID', `Cannot read user token file "${path}"`, { cause });
}

function nonEmpty(urls: readonly URL[]): readonly [URL, ...URL[]] {
  const [first, ...others] = urls;
  return first === undefined ? [DEFAULT_KUMA_API] : [first, ...others];
}
