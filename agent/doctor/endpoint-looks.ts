import { systemClock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { describeError, OperationalError } from '../../kernel/errors.ts';
import { servicesOf } from '../../kuma/services.ts';
import type { DataplaneIdentity } from '../identity/dataplane-identity.pure.ts';
import type { EndpointLook } from './endpoint-findings.pure.ts';
import { endpointName } from '../../kernel/endpoint-name.ts';
import type { Endpoint } from '../ports.ts';
import { openEndpoints, tokenOf, tokensOf, type EndpointTls } from '../run/connection.ts';
import type { DerivedDataplane } from '../identity/derive.io.ts';

export interface EndpointLooks {
  readonly derived: DerivedDataplane;
  readonly userTokenFile: string | undefined;
  /** If it fails, its error is the finding for each endpoint. */
  readonly tls: () => EndpointTls;
  /** For one endpoint; they are looked at side by side. */
  readonly budgetMs: number;
}

/** One look at each endpoint, as a run would open it. Never throws. */
export async function lookAtEndpoints(
  urls: readonly URL[],
  { derived, userTokenFile, tls, budgetMs }: EndpointLooks,
): Promise<readonly EndpointLook[]> {
  try {
    const { endpoints } = await openEndpoints(urls, {
      tls: tls(),
      ...tokensOf(userTokenFile, tokenOf(derived.command)),
    });
    return await Promise.all(endpoints.map((endpoint) => lookAt(endpoint, derived.identity, budgetMs)));
  } catch (error) {
    return urls.map((url) => ({ url: endpointName(url), seen: problemOf(error) }));
  }
}

async function lookAt(
  endpoint: Endpoint,
  identity: DataplaneIdentity,
  budgetMs: number,
): Promise<EndpointLook> {
  const { url } = endpoint;
  try {
    const facts = await withDeadline({ clock: systemClock, action: `reach ${url}`, budgetMs }, ({ signal }) =>
      endpoint.check(identity.key, signal),
    );
    const isLast = facts.otherZones !== undefined && (await isLastOfService(endpoint, identity, budgetMs));
    return { url, seen: { facts, isLastOfService: isLast } };
  } catch (error) {
    return { url, seen: problemOf(error) };
  } finally {
    endpoint.close();
  }
}

/** Without an answer there is no finding. */
async function isLastOfService(
  endpoint: Endpoint,
  { key, resource }: DataplaneIdentity,
  budgetMs: number,
): Promise<boolean> {
  const services = servicesOf(resource);
  if (services.length === 0) return false;
  const action = `look for siblings at ${endpoint.url}`;
  return withDeadline(
    { clock: systemClock, action, budgetMs },
    ({ signal }) => endpoint.isLastOfService?.(key, services, signal) ?? Promise.resolve(false),
  ).catch(() => false);
}

function problemOf(error: unknown): Extract<EndpointLook['seen'], { readonly problem: string }> {
  return {
    problem: describeError(error),
    code: error instanceof OperationalError ? error.code : undefined,
  };
}
