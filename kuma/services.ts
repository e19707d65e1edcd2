import * as z from 'zod/mini';

import { DataplaneResource } from './dataplane.ts';

/** The tag by which Kuma names a service up to 2.14. */
const SERVICE_TAG = 'kuma.io/service';

const List = z.looseObject({ items: z.array(z.unknown()), next: z.optional(z.nullable(z.string())) });

/** The services of a dataplane's inbounds: other zones may use them through an ingress. */
export function servicesOf(resource: DataplaneResource | undefined): readonly string[] {
  const names = (resource?.networking?.inbound ?? []).flatMap(({ tags }) => serviceIn(tags) ?? []);
  return [...new Set(names)];
}

/**
 * Whether a dataplane other than `name` has a ready inbound of this service.
 *
 * @param list body of `GET /meshes/{mesh}/dataplanes?tag=kuma.io/service:{service}`
 * @returns `undefined` if that is no list
 */
export function hasSibling(
  list: unknown,
  { name, service }: { readonly name: string; readonly service: string },
): boolean | undefined {
  const parsed = z.safeParse(List, list);
  if (!parsed.success) return undefined;
  const { items, next } = parsed.data;
  const found = items.some((item) => {
    const dataplane = DataplaneResource.safeParse(item);
    if (!dataplane.success || dataplane.data.name === name) return false;
    return (dataplane.data.networking?.inbound ?? []).some(
      ({ tags, state }) => serviceIn(tags) === service && (state ?? 'Ready') === 'Ready',
    );
  });
  // There are more pages.
  return found || typeof next === 'string';
}

/** The path that lists the dataplanes of a service, relative to the API server's root. */
export function serviceListPath(mesh: string, service: string): string {
  const tag = encodeURIComponent(`${SERVICE_TAG}:${service}`);
  return `meshes/${encodeURIComponent(mesh)}/dataplanes?tag=${tag}&size=100`;
}

function serviceIn(tags: unknown): string | undefined {
  const value = (tags as Readonly<Record<string, unknown>> | undefined | null)?.[SERVICE_TAG];
  return typeof value === 'string' ? value : undefined;
}
