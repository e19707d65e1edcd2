import { isObject } from '../../kernel/json.ts';
import { DATAPLANE_NAME, type DataplaneResource } from '../../kuma/dataplane.ts';

/** Fields that Go's encoding/json accepts in any letter case. All others need their exact name. */
const META = ['type', 'mesh', 'name', 'labels', 'creationTime', 'modificationTime'] as const;
const META_BY_LOWER_CASE: ReadonlyMap<string, string> = new Map(META.map((key) => [key.toLowerCase(), key]));

/** @see kuma 2.14.3: api/mesh/v1alpha1/dataplane.proto */
const STATES = ['Ready', 'NotReady', 'Ignored'];
const GATEWAY_TYPES = ['DELEGATED', 'BUILTIN'];

/**
 * A document as kuma-dp understands it: `null` counts as absent, numbers may be quoted, enums may be numbers, and the
 * fields beside `networking` may be in any case. Everything that this project does not read stays as written: the
 * control plane reads it by the same rules.
 *
 * @param document parsed YAML or JSON
 * @see kuma 2.14.3: pkg/core/resources/model/rest/unversioned/resource.go (encoding/json, then golang/protobuf's
 *   jsonpb)
 */
export function asDataplaneDocument(document: unknown): unknown {
  if (!isObject(document)) return document;
  const present = withoutNulls(document);
  const { networking, ...meta } = inMetaCase({ ...present, ...labelsOf(document) });
  return isObject(networking) ? { ...meta, networking: asNetworking(networking) } : { ...meta, networking };
}

/** Go reads the keys in their order and the last one wins; by then they are sorted. */
function inMetaCase(document: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  for (const key of Object.keys(document).toSorted()) {
    // Go takes the long s for an s, too.
    const plain = key.replaceAll('ſ', 's').toLowerCase();
    read[META_BY_LOWER_CASE.get(plain) ?? key] = document[key];
  }
  return read;
}

const MOST_PORT = 65_535;

/**
 * What kuma-dp would refuse of a resource, in the parts that the agent acts upon; `undefined` for nothing.
 *
 * The agent never registers or deletes a dataplane under a name that kuma-dp refuses.
 */
export function refusalOf({ name, networking }: DataplaneResource): string | undefined {
  if (name !== '' && !DATAPLANE_NAME.test(name)) {
    return `name: "${name.slice(0, 20)}" is not a name of Kuma's`;
  }
  const ports: readonly unknown[] = [
    ...(networking?.inbound ?? []),
    ...(networking?.listeners ?? []),
  ].flatMap((port) => [port.port, 'servicePort' in port ? port.servicePort : undefined]);
  const wrong = ports.filter((port) => typeof port === 'number').find((port) => !isPort(port));
  return wrong === undefined ? undefined : `networking: ${wrong} is not a port`;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= MOST_PORT;
}

function withoutNulls(document: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(document)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([key, value]) => [key, deepWithoutNulls(value)]),
  );
}

/** A label of `null` is an empty one. */
function labelsOf(document: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(document).flatMap(([key, labels]) =>
      key.toLowerCase() === 'labels' && isObject(labels) ? [[key, nullsAsEmpty(labels)]] : [],
    ),
  );
}

function nullsAsEmpty(labels: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, value ?? '']));
}

function deepWithoutNulls(value: unknown): unknown {
  // A null element counts as an empty element.
  if (Array.isArray(value))
    return value.map((element) => (element === null ? {} : deepWithoutNulls(element)));
  return isObject(value) ? withoutNulls(value) : value;
}

function asNetworking(networking: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { inbound, listeners, gateway } = networking;
  return {
    ...networking,
    ...(Array.isArray(inbound) ? { inbound: inbound.map(asPort) } : {}),
    ...(Array.isArray(listeners) ? { listeners: listeners.map(asPort) } : {}),
    ...(isObject(gateway) && 'type' in gateway
      ? { gateway: { ...gateway, type: asEnum(gateway['type'], GATEWAY_TYPES) } }
      : {}),
  };
}

function asPort(port: unknown): unknown {
  if (!isObject(port)) return port;
  return {
    ...port,
    ...('port' in port ? { port: asNumber(port['port']) } : {}),
    ...('servicePort' in port ? { servicePort: asNumber(port['servicePort']) } : {}),
    ...('state' in port ? { state: asEnum(port['state'], STATES) } : {}),
  };
}

function asNumber(value: unknown): unknown {
  // Go reads a quoted number as JSON: blanks around it, no leading zero.
  return typeof value === 'string' && /^\s*-?(0|[1-9]\d*)\s*$/.test(value) ? Number(value) : value;
}

function asEnum(value: unknown, names: readonly string[]): unknown {
  return typeof value === 'number' ? (names[value] ?? String(value)) : value;
}
