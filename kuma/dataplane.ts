import * as z from 'zod/mini';

import { parseJson } from '../kernel/json.ts';

/** What `kuma-dp run --proxy-type` may say. `ingress` and `egress` end with Kuma 2.14. */
export const PROXY_TYPES = ['dataplane', 'ingress', 'egress'] as const;
export type ProxyType = (typeof PROXY_TYPES)[number];

/** The identity of one Dataplane, ZoneIngress or ZoneEgress object in its zone. */
export interface DataplaneKey {
  readonly proxyType: ProxyType;
  /** Empty for the zone proxies: their objects are not in a mesh. */
  readonly mesh: string;
  readonly name: string;
}

/** RFC 1123 as Kuma asks for since 2.10, and the underscore that 2.7 still took. */
export const DATAPLANE_NAME = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

export const RESOURCE_TYPES = {
  dataplane: 'Dataplane',
  ingress: 'ZoneIngress',
  egress: 'ZoneEgress',
} as const satisfies Record<ProxyType, string>;

/** The label by which an object says which run of the agent put it. Kuma keeps labels from 2.10 on. */
export const INCARNATION_LABEL = 'kuma-dp-agent/incarnation';

const Inbound = z.looseObject({
  address: z.optional(z.string()),
  port: z.optional(z.number()),
  /** Where the application listens; by default on the inbound's own address and port. */
  serviceAddress: z.optional(z.string()),
  servicePort: z.optional(z.number()),
  state: z.optional(z.string()),
  serviceProbe: z.optional(z.unknown()),
  tags: z.optional(z.unknown()),
});

const Gateway = z.looseObject({ type: z.optional(z.unknown()), tags: z.optional(z.unknown()) });

const Listener = z.looseObject({
  address: z.optional(z.string()),
  port: z.optional(z.number()),
  type: z.optional(z.unknown()),
  state: z.optional(z.string()),
});

/** The parts of a Dataplane that this project reads; the rest passes through unchanged. */
export const DataplaneResource = z.looseObject({
  type: z.string(),
  mesh: z.optional(z.string()),
  name: z.string(),
  creationTime: z.optional(z.string()),
  modificationTime: z.optional(z.string()),
  labels: z.optional(z.record(z.string(), z.string())),
  networking: z.optional(
    z.looseObject({
      address: z.optional(z.string()),
      inbound: z.optional(z.array(Inbound)),
      listeners: z.optional(z.array(Listener)),
      gateway: z.optional(Gateway),
      transparentProxying: z.optional(z.unknown()),
    }),
  ),
});
export type DataplaneResource = z.infer<typeof DataplaneResource>;

/** A resource in JSON, as a record keeps it. `undefined` if there is none, or if the text is no dataplane. */
export function storedResource(text: string | undefined): DataplaneResource | undefined {
  return text === undefined ? undefined : DataplaneResource.safeParse(parseJson(text)).data;
}

/**
 * The REST path of an object, relative to the API server's root.
 *
 * `zone-ingresses` is what every line up to 2.14 understands: 2.14 made `zoneingresses` canonical and kept the other.
 *
 * @see kuma 2.7.11, 2.10.1, 2.14.3: pkg/core/resources/apis/mesh/zz_generated.resources.go
 */
export function resourcePath(key: DataplaneKey): string {
  const name = encodeURIComponent(key.name);
  switch (key.proxyType) {
    case 'dataplane':
      return `meshes/${encodeURIComponent(key.mesh)}/dataplanes/${name}`;
    case 'ingress':
      return `zone-ingresses/${name}`;
    case 'egress':
      return `zoneegresses/${name}`;
  }
}

/** The name for people: `default/web-1`, `ingress zi-1`. */
export function describeKey(key: DataplaneKey): string {
  return key.proxyType === 'dataplane' ? `${key.mesh}/${key.name}` : `${key.proxyType} ${key.name}`;
}
