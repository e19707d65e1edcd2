import { systemClock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { tokenIn } from '../../kuma/credentials.ts';
import { readRegularFileSync } from '../../program/regular-file.ts';
import { tlsFiles } from '../../kuma/tls-files.io.ts';
import { KeptFiles, type OnFileKept } from '../../program/kept-files.ts';
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
  const { userTokenFile: path } = options;
  const token =
    path === undefined
      ? undefined
      : new KeptFiles({ paths: [path], load: () => readToken(path), onKept, clock: systemClock });
  const urls = nonEmpty(options.kumaApi);
  const { kumaCaFile: caFile, kumaClientCertificateFile, kumaClientKeyFile } = options;
  if (caFile === undefined && urls.some(({ protocol }) => protocol === 'https:')) trustKnownRoots();
  const files = {
    caFile,
    clientCertificateFile: kumaClientCertificateFile,
    clientKeyFile: kumaClientKeyFile,
  };
  return { urls, tls: tlsFiles(files, onKept), userToken: () => token?.fresh };
}

function readToken(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readRegularFileSync(path);
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read user token file "${path}"`, { cause });
  }
  return tokenIn(`user token file "${path}"`, bytes);
}

function nonEmpty(urls: readonly URL[]): readonly [URL, ...URL[]] {
  const [first, ...others] = urls;
  return first === undefined ? [DEFAULT_KUMA_API] : [first, ...others];
}
