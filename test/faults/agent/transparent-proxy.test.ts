import { execFileSync } from 'node:child_process';

import { describe, expect, test } from 'vitest';

import { isExempt, readExemptions } from '../../../agent/identity/transparent-proxy.pure.ts';
import { need, unavailable } from '../../support/need.ts';

const KUMA_DP = 5678;
const REST = 5682;
const COMPANION = 5690;

/** Kuma's rules for outbound connections of this host, in an empty network; each answer names its sender. */
const SCRIPT = `set -e
ip link set lo up; ip addr add 192.0.2.9/32 dev lo; ip -6 addr add 2001:db8::9/128 dev lo nodad
for t in iptables ip6tables; do
  $t -t nat -N KUMA_MESH_OUTBOUND
  [ -z "$EXCLUDED" ] || $t -t nat -A KUMA_MESH_OUTBOUND -p tcp -m multiport --dports "$EXCLUDED" -j RETURN
  $t -t nat -A KUMA_MESH_OUTBOUND -m owner --uid-owner ${KUMA_DP} -j RETURN
  $t -t nat -A KUMA_MESH_OUTBOUND -p tcp -j REDIRECT --to-ports 15001
  $t -t nat -A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND
done
"$NODE" -e 'for (const [port, who] of [[15001, "envoy"], [${REST}, "cp"], [${COMPANION}, "companion"]])
  require("net").createServer((s) => s.end(who)).listen(port, "::", () => port === ${COMPANION} && console.error("up"))' 2>/tmp/up.$$ &
trap "kill $!; rm -f /tmp/up.$$" EXIT
until grep -q up /tmp/up.$$; do :; done
for uid in 0 ${KUMA_DP}; do for host in 192.0.2.9 2001:db8::9; do for port in ${REST} ${COMPANION}; do
  printf '%s %s %s ' $uid $host $port
  setpriv --reuid $uid --clear-groups "$NODE" -e 'require("net").connect(+process.argv[2], process.argv[1]).pipe(process.stdout).on("end", () => {})' $host $port; echo
done; done; done
echo RULES; iptables-save -t nat`;

interface Answers {
  readonly lines: readonly string[];
  readonly rules: string;
}

function callAll(excluded: string): Answers {
  const env = { ...process.env, EXCLUDED: excluded, NODE: process.execPath };
  const said = execFileSync('unshare', ['--net', 'bash', '-c', SCRIPT], { env, encoding: 'utf8' });
  const [lines = '', rules = ''] = said.split('RULES\n');
  return { lines: lines.trim().split('\n'), rules };
}

describe.for([
  { setup: 'kumactl with --kuma-dp-user alone', excluded: '' },
  { setup: "with --exclude-outbound-ports of the agent's endpoints", excluded: `${REST},${COMPANION}` },
  { setup: 'with the port of the companion alone', excluded: String(COMPANION) },
])('transparent proxying, $setup', ({ excluded }) => {
  test('the kernel treats each connection, over IPv4 and IPv6, as the doctor reads the rules', (context) => {
    if (process.getuid?.() !== 0) unavailable(context, 'a network namespace needs root');
    need(context, 'iptables');
    const { lines, rules } = callAll(excluded);
    expect(lines).toHaveLength(8);
    for (const line of lines) {
      const [uid, , port, answer] = line.split(' ');
      const exempt = isExempt(readExemptions(rules) ?? [], { uid: Number(uid), port: Number(port) });
      expect(`${line}, exempt ${exempt}`).toBe(`${line}, exempt ${answer !== 'envoy'}`);
    }
    expect(lines.filter((line) => line.startsWith(String(KUMA_DP)) && line.endsWith('envoy'))).toEqual([]);
    const redirected = lines.filter((line) => line.endsWith('envoy'));
    expect(redirected).toHaveLength(8 / 2 - 2 * excluded.split(',').filter(Boolean).length);
  });
});
