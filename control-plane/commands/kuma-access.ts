import { readFileSync } from 'node:fs';

import { OperationalError } from '../../kernel/errors.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { trustKnownRoots } from '../../program/known-roots.ts';
import { DEFAULT_KUMA_API, type ServeOptions } from '../options.ts';

/** How the zone's control planes are reached. */
export interface KumaAccess {
  readonly urls: readonly [URL, ...URL[]];
  readonly tls: EndpointTls;
  readonly userToken: () => string | undefined;
}

/** @throws {@link OperationalError} `CONFIG_INVALID` for a file that cannot be read */
export function kumaAccess(options: ServeOptions): KumaAccess {
  const userToken = options.userTokenFile === undefined ? undefined : rereadable(options.userTokenFile);
  const urls = nonEmpty(options.kumaApi);
  if (options.kumaCaFile === undefined && urls.some(({ protocol }) => protocol === 'https:'))
    trustKnownRoots();
  return { urls, tls: readTls(options), userToken: () => userToken?.() };
}

function readTls({ kumaCaFile }: ServeOptions): EndpointTls {
  try {
    return {
      ca: kumaCaFile === undefined ? undefined : readFileSync(kumaCaFile, 'utf8'),
      clientCertificate: undefined,
      clientKey: undefined,
      skipVerify: false,
    };
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read "${kumaCaFile ?? ''}"`, { cause });
  }
}

/** A token file is small and local: read for each use, so that a rotated one holds at once. */
function rereadable(path: string): () => string {
  let last = '';
  const read = (): string => {
    try {
      last = readFileSync(path, 'utf8').trim();
    } catch (cause) {
      if (last === '')
        throw new OperationalError('CONFIG_INVALID', `Cannot read user token file "${path}"`, { cause });
    }
    return last;
  };
  read();
  return read;
}

function nonEmpty(urls: readonly URL[]): readonly [URL, ...URL[]] {
  const [first, ...others] = urls;
  return first === undefined ? [DEFAULT_KUMA_API] : [first, ...others];
}
