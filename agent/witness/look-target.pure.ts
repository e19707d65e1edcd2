import type { Target } from '../../kernel/tcp-findings.ts';

/** Addresses to which a witness never connects, in canonical form. */
const FORBIDDEN: readonly (readonly [kind: string, pattern: RegExp])[] = [
  ['unspecified', /^(0\.|::$)/],
  ['loopback', /^(127\.|::1$)/],
  ['link-local', /^(169\.254\.|fe[89ab][0-9a-f]:)/],
  ['multicast', /^(22[4-9]\.|23\d\.|ff[0-9a-f]{2}:)/],
  ['reserved', /^(24\d\.|25[0-5]\.)/],
  // IPv6 forms that contain an IPv4 address: none of the addresses above may hide in them.
  ['translated', /^(::[0-9a-f]{1,4}(:[0-9a-f]{1,4})?$|64:ff9b:|2002:)/],
];

/**
 * @param own canonical addresses of this host, of companions and of control planes
 * @returns why an agent does not look at this; `undefined` if it may
 */
export function refusalOf({ address, port }: Target, own: ReadonlySet<string>): string | undefined {
  const canonical = canonicalAddress(address);
  if (canonical === undefined) return `"${address.slice(0, 64)}" is not an IP address`;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return `${port} is not a port`;
  const kind = FORBIDDEN.find(([, pattern]) => pattern.test(canonical))?.[0];
  if (kind !== undefined) return `${canonical} is a ${kind} address`;
  return own.has(canonical)
    ? `${canonical} is an address of this host, of a companion or of a control plane`
    : undefined;
}

/** The canonical form of an IP address; IPv4 if an IPv6 form only wraps it. `undefined` for an invalid one. */
export function canonicalAddress(text: string): string | undefined {
  if (/^\d+(\.\d+){3}$/.test(text)) {
    const { hostname } = urlOf(text) ?? {};
    // Some programs read leading zeros as octal, others as decimal.
    return hostname === text ? text : undefined;
  }
  if (!/^[0-9a-f:.]+$/i.test(text) || !text.includes(':')) return undefined;
  const canonical = urlOf(`[${text}]`)?.hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical ?? '');
  return mapped === null ? canonical : asIpv4(mapped.slice(1));
}

function urlOf(host: string): URL | undefined {
  return URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`) : undefined;
}

function asIpv4(groups: readonly string[]): string {
  return groups
    .map((group) => Number.parseInt(group, 16))
    .flatMap((pair) => [pair >> 8, pair % 256])
    .join('.');
}
