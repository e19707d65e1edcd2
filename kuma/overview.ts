import * as z from 'zod/mini';

import { DataplaneResource, INCARNATION_LABEL, type DataplaneKey } from './dataplane.ts';

/** One xDS stream of a dataplane, as its control plane recorded it. Times are RFC 3339 with nanoseconds. */
export const Subscription = z.looseObject({
  id: z.string(),
  controlPlaneInstanceId: z.optional(z.string()),
  connectTime: z.optional(z.string()),
  disconnectTime: z.optional(z.string()),
});
export type Subscription = z.infer<typeof Subscription>;

const Overview = z.looseObject({
  mesh: z.optional(z.string()),
  name: z.string(),
  creationTime: z.optional(z.string()),
  modificationTime: z.optional(z.string()),
  labels: z.optional(z.record(z.string(), z.string())),
  dataplane: z.optional(z.looseObject({ networking: DataplaneResource.shape.networking })),
  dataplaneInsight: z.optional(
    z.looseObject({
      subscriptions: z.optional(z.array(Subscription)),
      metadata: z.optional(z.record(z.string(), z.unknown())),
    }),
  ),
});

/** A dataplane as `GET …/_overview` shows it, in the shape this project reasons about. */
export interface DataplaneOverview {
  readonly mesh: string;
  readonly name: string;
  readonly creationTime: string | undefined;
  /** Changes with each write: re-registration, a change of an inbound's health, a PUT. */
  readonly modificationTime: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly networking: DataplaneResource['networking'];
  /** The object as a PUT takes it. */
  readonly resource: DataplaneResource;
  /** Oldest first; Kuma keeps the last two. Empty if it never connected or was only just created. */
  readonly subscriptions: readonly Subscription[];
  /** Envoy's node metadata; on 2.10 and older always empty. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * @returns `undefined` if `body` is not an overview.
 * @see recorded answers of 2.10.1, 2.14.3 and 3.0: `overview-*.json`
 */
export function readOverview(body: unknown): DataplaneOverview | undefined {
  const parsed = z.safeParse(Overview, body);
  if (!parsed.success) return undefined;
  const { mesh, name, creationTime, modificationTime, labels, dataplane, dataplaneInsight } = parsed.data;
  return {
    mesh: mesh ?? '',
    name,
    creationTime,
    modificationTime,
    labels: labels ?? {},
    networking: dataplane?.networking,
    resource: {
      ...dataplane,
      type: 'Dataplane',
      name,
      ...(mesh === undefined ? {} : { mesh }),
      ...(labels === undefined ? {} : { labels }),
    },
    subscriptions: dataplaneInsight?.subscriptions ?? [],
    metadata: dataplaneInsight?.metadata ?? {},
  };
}

/** Whether no peer was told of it: an agent put it and never made it ready. */
export function wasNeverReady({ labels, networking }: DataplaneOverview): boolean {
  const ports = [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])];
  return (
    labels[INCARNATION_LABEL] !== undefined &&
    ports.length > 0 &&
    ports.every(({ state }) => state === 'NotReady')
  );
}

/** Whether the control plane has recorded neither a stream nor metadata of it. */
export function neverConnected({ subscriptions, metadata }: DataplaneOverview): boolean {
  return subscriptions.length === 0 && Object.keys(metadata).length === 0;
}

/**
 * Whether a control plane holds this stream, as far as it knows: after a crash of the control plane it may be a ghost.
 *
 * @see kuma pkg/core/resources/apis/mesh/dataplane_insight_helpers.go
 */
export function isOnline(subscription: Subscription): boolean {
  return subscription.connectTime !== undefined && subscription.disconnectTime === undefined;
}

/** Where its newest stream was; `undefined` if that is not said. */
export function lastInstance(subscriptions: readonly Subscription[]): string | undefined {
  const [newest] = subscriptions.toSorted((a, b) => connectedMs(b) - connectedMs(a));
  return newest?.controlPlaneInstanceId;
}

function connectedMs({ connectTime }: Subscription): number {
  const ms = Date.parse(connectTime ?? '');
  return Number.isNaN(ms) ? 0 : ms;
}

/** Compares two RFC 3339 times of one control plane, to the millisecond. */
export function isAfter(a: string, b: string): boolean {
  return Date.parse(a) > Date.parse(b);
}

/** The dataplane of an overview. */
export function keyOf({ mesh, name }: DataplaneOverview): DataplaneKey {
  return { proxyType: 'dataplane', mesh, name };
}
