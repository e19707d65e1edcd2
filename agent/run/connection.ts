import { resolve } from 'node:path';

import { OperationalError } from '../../kernel/errors.ts';

import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { readRegularFileSync } from '../../program/regular-file.ts';
import type { OnFileKept } from '../../program/kept-files.ts';
import { tlsFiles, type TlsFileNames } from '../../kuma/tls-files.io.ts';
import { dataplaneToken, type DataplaneTokenSource } from '../identity/dataplane-token.io.ts';
import { kumaRestEndpoint } from '../object/kuma-rest-endpoint.io.ts';
import { userToken } from '../object/user-token.io.ts';
import { knowsKeepAlive } from '../../program/keepalive.ts';
import { isCompanion } from '../object/endpoint-url.pure.ts';
import type { KumaDpCommand } from '../identity/kuma-dp-command.pure.ts';
import type { ConnectionOptions } from '../options.ts';
import type { Companion, Endpoint, Token, Witness } from '../ports.ts';

export type { EndpointTls };

export interface OpenEndpoints {
  /** In the order in which they are asked, companions included. */
  readonly endpoints: readonly Endpoint[];
  readonly companions: readonly Companion[];
}

export interface Credentials {
  readonly tls: EndpointTls;
  /** For Kuma's REST API. */
  readonly userToken: Token;
  /** For companions. The REST API never gets it, and companions never get the other one. */
  readonly dataplaneToken: Token;
  /** Answers a companion's looks; absent: the agent is no witness. */
  readonly witness?: Witness | undefined;
}

/** @param userTokenFile `undefined`: requests to Kuma's REST API are anonymous */
export function tokensOf(
  userTokenFile: string | undefined,
  source: DataplaneTokenSource,
): Pick<Credentials, 'userToken' | 'dataplaneToken'> {
  return { userToken: userToken(userTokenFile), dataplaneToken: dataplaneToken(source) };
}

/**
 * gRPC is loaded only if an endpoint speaks it: it takes a tenth of an idle agent's memory.
 *
 * @param urls in the order in which they are asked
 */
export async function openEndpoints(
  urls: readonly URL[],
  { tls, userToken: forRest, dataplaneToken: forCompanions, witness }: Credentials,
): Promise<OpenEndpoints> {
  const grpc = urls.some(isCompanion) ? await importCompanion() : undefined;
  // The first request carries the token. If it cannot be read, the attach or the check reports it.
  if (grpc !== undefined) await forCompanions.refresh().catch(() => {});
  if (!urls.every(isCompanion)) await forRest.refresh().catch(() => {});
  const companions: Companion[] = [];
  const endpoints = urls.map((url): Endpoint => {
    if (grpc === undefined || !isCompanion(url)) return kumaRestEndpoint({ url, tls, userToken: forRest });
    const companion = grpc.companionEndpoint({
      url,
      tls,
      token: forCompanions,
      witness,
      pings: knowsKeepAlive() ? undefined : grpc.LONE_PINGS,
    });
    companions.push(companion);
    return companion;
  });
  return { endpoints, companions };
}

export const importCompanion = () => import('../companion/companion-endpoint.io.ts');

/** The token that kuma-dp will use: an inline token wins. */
export function tokenOf(command: KumaDpCommand): DataplaneTokenSource {
  const { token, tokenPath } = command;
  return {
    inline: token === '' ? undefined : token,
    file: tokenPath === '' || token !== '' ? undefined : resolve(tokenPath),
  };
}

/**
 * The agent's own settings first, then those of kuma-dp for the same control plane: its general certificate also serves
 * the REST API (KUMA: bootstrap/autoconfig.go).
 *
 * @param onKept called with a file that becomes unusable
 * @throws `CONFIG_INVALID` for a file that is unusable from the beginning
 */
export function readTls(
  options: ConnectionOptions,
  command: KumaDpCommand | undefined,
  onKept: OnFileKept = () => {},
): EndpointTls {
  const { caFile, clientCertificateFile, clientKeyFile } = options;
  const skipVerify = caFile === undefined && command?.skipVerify === true;
  return tlsFiles(
    { ...authority(caFile, command), clientCertificateFile, clientKeyFile, skipVerify },
    onKept,
  );
}

/** The trusted CA certificates: from a file, or given as text. */
export function authority(
  caFile: string | undefined,
  command: KumaDpCommand | undefined,
): Pick<TlsFileNames, 'ca' | 'caFile'> {
  if (caFile !== undefined) return { caFile };
  if (command === undefined) return {};
  if (command.caCert !== '') return { ca: command.caCert };
  return command.caCertFile === '' ? {} : { caFile: command.caCertFile };
}

/** @throws `CONFIG_INVALID` if it cannot be read */
export function readIfNamed(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readRegularFileSync(path).toString('utf8');
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read "${path}"`, { cause });
  }
}
