import { isIP } from 'node:net';

import { networkingOf, type Inbound, type Networking } from './dataplane-model.ts';
import { type FieldViolation } from './rest-errors.ts';
import { type Fields, type ResourceType } from './store.ts';
import { type VersionTraits } from './version-traits.ts';

/** The checks of Kuma that a client can fail by accident. The emulator has no other rules of Kuma's. */
export function validateSpec(
  type: ResourceType,
  spec: Fields,
  traits: VersionTraits,
): readonly FieldViolation[] {
  if (type !== 'Dataplane') return [];
  if (typeof spec['networking'] !== 'object' || spec['networking'] === null) {
    return [{ field: 'networking', reason: 'must be defined' }];
  }
  const networking = networkingOf(spec);
  return [
    ...validateShape(networking, traits),
    ...validateAddress(networking.address ?? ''),
    ...(networking.inbound ?? []).flatMap((inbound, index) => validateInbound(inbound, index, traits)),
  ];
}

/** Whether the body names the object that the URL names. */
export function validateMeta(
  url: { readonly name: string; readonly mesh: string },
  body: Fields,
): readonly FieldViolation[] {
  const violations: FieldViolation[] = [];
  const expect = (field: string, wanted: string): void => {
    if ((body[field] ?? '') !== wanted) {
      violations.push({ field, reason: `${field} from the URL has to be the same as in body` });
    }
  };
  expect('name', url.name);
  expect('mesh', url.mesh);
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(url.name)) {
    violations.push({
      field: 'name',
      reason: 'invalid characters: must consist of lower case alphanumeric characters, "-" or "."',
    });
  }
  return violations;
}

function validateShape(networking: Networking, traits: VersionTraits): readonly FieldViolation[] {
  const inbounds = networking.inbound ?? [];
  if (networking.gateway !== undefined && inbounds.length > 0) {
    return [{ field: 'networking.inbound', reason: 'inbound cannot be defined for delegated gateways' }];
  }
  if (traits.needsInbound && networking.gateway === undefined && inbounds.length === 0) {
    return [{ field: 'networking', reason: 'has to contain at least one inbound interface or gateway' }];
  }
  return [];
}

function validateAddress(address: string): readonly FieldViolation[] {
  const field = 'networking.address';
  if (address === '') return [{ field, reason: "address can't be empty" }];
  if (address === '0.0.0.0' || address === '::') return [{ field, reason: 'must not be 0.0.0.0 or ::' }];
  if (isIP(address) === 0 && !/^[a-zA-Z0-9_]([-a-zA-Z0-9_.]*[a-zA-Z0-9_])?$/.test(address)) {
    return [{ field, reason: 'address has to be valid IP address or domain name' }];
  }
  return [];
}

function validateInbound(inbound: Inbound, index: number, traits: VersionTraits): readonly FieldViolation[] {
  const field = `networking.inbound[${index}]`;
  const violations: FieldViolation[] = [];
  if (!isPort(inbound.port)) {
    violations.push({ field: `${field}.port`, reason: 'port must be in the range [1, 65535]' });
  }
  const tags = traits.inboundTags ? inbound.tags : undefined;
  if (tags !== undefined && Object.keys(tags).length > 0 && tags['kuma.io/service'] === undefined) {
    violations.push({ field: `${field}.tags["kuma.io/service"]`, reason: 'tag has to exist' });
  }
  return violations;
}

function isPort(port: unknown): boolean {
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535;
}
