import { INCARNATION_LABEL, type DataplaneResource } from './dataplane.ts';

/**
 * The resource as the agent puts it before kuma-dp starts: peers do not see an inbound that is `NotReady`, while its
 * own Envoy gets the full configuration. The listeners of Kuma 3 have the same state.
 */
export function asNotReady(resource: DataplaneResource, incarnation: string | undefined): DataplaneResource {
  const label = incarnation === undefined ? {} : { [INCARNATION_LABEL]: incarnation };
  return {
    ...resource,
    labels: { ...resource.labels, ...label },
    ...withNetworking(resource, (port) => (isReady(port) ? { ...port, state: 'NotReady' } : port)),
  };
}

/**
 * The stored object, announced: the inbounds that the template left ready become `Ready`. One with a service probe
 * stays as it is, since only the probe may say that its application answers; one that the template itself holds back
 * stays held back.
 *
 * @param stored the object as the control plane has it now, with what it and its health checks wrote into it
 * @see kuma pkg/hds/tracker/callbacks.go (HDS flips the same field), pkg/core/managers/apis/dataplane (setHealth)
 */
export function asReady(stored: DataplaneResource, template: DataplaneResource): DataplaneResource {
  const heldBack = new Set(
    [...(template.networking?.inbound ?? []), ...(template.networking?.listeners ?? [])]
      .filter((port) => port['serviceProbe'] !== undefined || !isReady(port))
      .map((port) => port.port),
  );
  return {
    ...stored,
    ...withNetworking(stored, (port) =>
      heldBack.has(port.port) ? port : { ...port, state: 'Ready', ...healthy(port) },
    ),
  };
}

/** The addresses and ports on which its Envoy will listen. */
export function listeningPorts(
  resource: DataplaneResource,
): readonly { readonly address: string; readonly port: number }[] {
  const { networking } = resource;
  return [...(networking?.inbound ?? []), ...(networking?.listeners ?? [])].flatMap((inbound) =>
    inbound.port === undefined
      ? []
      : [{ address: inbound.address ?? networking?.address ?? '', port: inbound.port }],
  );
}

/** Ready is the default. `Ignored` and what else a template may say stays as it is. */
function isReady(port: Port): boolean {
  return (port.state ?? 'Ready') === 'Ready';
}

/** HDS of Kuma 2 writes both fields, and a peer believes the worse of them. */
function healthy(port: Port): { readonly health?: { readonly ready: true } } {
  return port['health'] === undefined ? {} : { health: { ready: true } };
}

type Port = NonNullable<NonNullable<DataplaneResource['networking']>['inbound']>[number];

function withNetworking(
  resource: DataplaneResource,
  change: (port: Port) => Port,
): Partial<DataplaneResource> {
  const { networking } = resource;
  if (networking === undefined) return {};
  const { inbound, listeners } = networking;
  return {
    networking: {
      ...networking,
      ...(inbound === undefined ? {} : { inbound: inbound.map(change) }),
      ...(listeners === undefined ? {} : { listeners: listeners.map(change) }),
    },
  };
}
