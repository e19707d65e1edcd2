import { isLoopback } from '../../kernel/listener-address.ts';
import type { DataplaneResource } from '../../kuma/dataplane.ts';

/** Whether the kernel sends what this host calls into Envoy: the Dataplane or kuma-dp's command says so. */
export function usesTransparentProxy(
  resource: DataplaneResource | undefined,
  argv: readonly string[],
): boolean {
  if (argv.some((word) => /^--transparent-proxy(-config)?(=(?!false|0|f\b)|$)/i.test(word))) return true;
  return resource?.networking?.transparentProxying !== undefined;
}

/** A rule that exempts connections: of these users, to these ports. `undefined`: of any user, to any port. */
interface Exemption {
  readonly uids: readonly Range[] | undefined;
  readonly ports: readonly Range[] | undefined;
}

type Range = readonly [first: number, last: number];

/**
 * The exemptions of the rules for outbound connections, or that there are no such rules.
 *
 * @param rules what `iptables-save -t nat` prints, of IPv4 or IPv6
 * @see kuma pkg/transparentproxy/iptables/builder/builder_table_nat.go
 */
export function readExemptions(rules: string): readonly Exemption[] | undefined {
  const outbound = rules.split('\n').filter((rule) => /^-A \S*MESH_OUTBOUND /.test(rule));
  if (outbound.length === 0) return undefined;
  return outbound.flatMap((rule) => {
    // A rule for some addresses or interfaces exempts no port as such.
    if (!/ -j (RETURN|ACCEPT)\b/.test(rule) || / (!|-d|-o|-s) /.test(rule)) return [];
    const uids = rangesOf(/ --uid-owner (\S+)/.exec(rule)?.[1], '-');
    const ports = rangesOf(/ --(?:dport|dports|destination-port) (\S+)/.exec(rule)?.[1], ':');
    return uids === undefined && ports === undefined ? [] : [{ uids, ports }];
  });
}

export function isExempt(
  exemptions: readonly Exemption[],
  { uid, port }: { uid: number; port: number },
): boolean {
  return exemptions.some(
    ({ uids, ports }) =>
      (uids === undefined || uids.some((range) => isIn(range, uid))) &&
      (ports === undefined || ports.some((range) => isIn(range, port))),
  );
}

export interface Redirected {
  readonly agentUid: number;
  readonly kumaDpUid: number;
}

export function describeRedirected({ agentUid, kumaDpUid }: Redirected): string {
  return `the agent runs as uid ${agentUid} and kuma-dp as uid ${kumaDpUid}; transparent proxying exempts kuma-dp's user only, so the kernel redirects the agent's own connections into Envoy`;
}

/** @param ports of the agent's endpoints */
export function remedyOfRedirected({ kumaDpUid }: Redirected, ports: readonly number[]): string {
  return `run the agent as uid ${kumaDpUid} as well (User= of the unit, in place of runuser or sudo), or kumactl install transparent-proxy --exclude-outbound-ports ${ports.join(',')}`;
}

/** Ports of endpoints on other hosts: connections within this host are not redirected. */
export function portsOf(urls: readonly URL[]): readonly number[] {
  const remote = urls.filter(({ hostname }) => !isLoopback(hostname));
  return [...new Set(remote.map(({ port, protocol }) => Number(port) || (protocol === 'http:' ? 80 : 443)))];
}

function rangesOf(text: string | undefined, between: string): readonly Range[] | undefined {
  if (text === undefined) return undefined;
  return text.split(',').map((part) => {
    const [first = 0, last = first] = part.split(between).map(Number);
    return [first, last];
  });
}

function isIn([first, last]: Range, value: number): boolean {
  return value >= first && value <= last;
}
