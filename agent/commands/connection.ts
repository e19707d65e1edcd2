import { readFileSync } from 'node:fs';

import { OperationalError } from '../../kernel/errors.ts';
import type { EndpointTls } from '../../kuma/connection-pool.ts';
import { kumaRestEndpoint } from '../adapters/kuma-rest-endpoint.ts';
import { userToken } from '../adapters/user-token.ts';
import type { DataplaneIdentity } from '../core/dataplane-identity.ts';
import type { KumaDpCommand } from '../core/kuma-dp-command.ts';
import type { ConnectionOptions } from '../options.ts';
import type { Endpoint } from '../ports.ts';

export type { EndpointTls };

/** Those that the agent was given, else the one beside kuma-dp's control plane. */
export function endpointUrls(given: readonly URL[], identity: DataplaneIdentity): readonly URL[] {
  return given.length > 0 ? given : [identity.defaultEndpoint];
}

/** @param urls in the order in which they are asked */
export function openEndpoints(
  urls: readonly URL[],
  options: { readonly tls: EndpointTls; readonly userTokenFile: string | undefined },
): readonly Endpoint[] {
  const token = userToken(options.userTokenFile);
  return urls.map((url) => kumaRestEndpoint({ url, tls: options.tls, userToken: token }));
}

/**
 * The agent's own settings first, then what kuma-dp is told about the same control plane: its general certificate also
 * serves the REST API (KUMA: bootstrap/autoconfig.go).
 *
 * @throws `CONFIG_INVALID` for a file that cannot be read
 */
export function readTls(options: ConnectionOptions, command: KumaDpCommand | undefined): EndpointTls {
  return {
    ca: readCa(options, command),
    clientCertificate: readOptional(options.clientCertificateFile),
    clientKey: readOptional(options.clientKeyFile),
    skipVerify: options.caFile === undefined && command?.skipVerify === true,
  };
}

function readCa(options: ConnectionOptions, command: KumaDpCommand | undefined): string | undefined {
  if (options.caFile !== undefined) return readOptional(options.caFile);
  if (command === undefined) return undefined;
  if (command.caCert !== '') return command.caCert;
  return command.caCertFile === '' ? undefined : readOptional(command.caCertFile);
}

function readOptional(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read "${path}"`, { cause });
  }
}
