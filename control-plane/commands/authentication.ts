import { systemClock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';
import type { Metrics } from '../server/metrics.io.ts';
import { publicKeyFiles } from '../tokens/public-key-files.io.ts';
import { secretReader } from '../tokens/secret-reader.io.ts';
import { KeyLookups } from '../tokens/key-lookups.ts';
import { signingKeySecrets } from '../tokens/signing-key-secrets.io.ts';
import { openAuthenticator, tokenAuthenticator } from '../tokens/token-authenticator.io.ts';
import { tokenRevocations } from '../tokens/token-revocations.io.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ServeOptions } from '../options.ts';
import type { Authenticator } from '../ports.ts';
import type { TokenProblem } from '../tokens/token-ports.ts';
import type { KumaAccess } from './kuma-access.ts';

interface AuthenticationParts {
  readonly events: DeregistrarEvents;
  readonly metrics: Metrics;
  readonly isKnownMesh: (mesh: string) => boolean;
}

/**
 * Dataplane tokens by mounted keys first, then by the control plane's own secrets, as the control plane does it.
 *
 * @throws {@link OperationalError} `CONFIG_INVALID` if a mounted file cannot be used
 */
export function openAuthentication(
  options: ServeOptions,
  { urls, tls, userToken }: KumaAccess,
  { events, metrics, isKnownMesh }: AuthenticationParts,
): Authenticator {
  if (options.authn === 'none') return openAuthenticator;
  const report = (problem: TokenProblem): void => {
    events.tokensDoubted(problem);
  };
  const [first, ...others] = urls;
  const client = (url: URL): RestClient => new RestClient({ url, tls, userToken });
  const read = secretReader([client(first), ...others.map(client)], systemClock);
  const lookups = new KeyLookups({
    clock: systemClock,
    isKnownMesh,
    onRefused: (scope) => {
      metrics.callRefused('key-lookups', scope);
    },
  });
  const authenticator = tokenAuthenticator({
    sources: [
      publicKeyFiles(options.publicKeys, report, systemClock),
      signingKeySecrets({ read, lookups, clock: systemClock }),
    ],
    revocations: tokenRevocations({
      read,
      files: options.revocationsFile === undefined ? [] : [options.revocationsFile],
      clock: systemClock,
      report,
    }),
    clock: systemClock,
  });
  return {
    authenticate: async (token, by) => {
      try {
        return await authenticator.authenticate(token, by);
      } catch (error) {
        if (error instanceof OperationalError && error.code === 'UNAUTHENTICATED') {
          metrics.tokenRejected('unauthenticated');
          events.tokenRefused(by, String(error.details['reason'] ?? error.message));
        }
        throw error;
      }
    },
  };
}
