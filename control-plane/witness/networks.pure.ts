/** An address and how many of its bits name the network. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
}

/** Networks at which a witness may look. */
export interface Networks {
  /**
   * @param peer the address that the suspect's own stream comes from; `undefined` if that is not known
   */
  permits(address: string, peer: string | undefined): boolean;
}

/** An IPv4 address in IPv6 form is the same host. */
export function plainAddress(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
}

/** @returns `undefined` if it is not a network in CIDR notation */
export function parseNetwork(text: string): Network | undefined {
  const [, address = '', prefix = ''] = /^([\da-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const isIpv6 = address.includes(':');
  const isValid = isIpv6 ? URL.canParse(`http://[${address}]`) : IPV4.test(address);
  if (!isValid || Number(prefix) > (isIpv6 ? 128 : 32)) return undefined;
  return { address, prefix: Number(prefix) };
}

const IPV4 = /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.(?!$)|$)){4}$/;
