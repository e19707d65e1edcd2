import { describe, expect, test } from 'vitest';

import {
  isExempt,
  portsOf,
  readExemptions,
  remedyOfRedirected,
  usesTransparentProxy,
} from '../../../agent/identity/transparent-proxy.pure.ts';

const SAVED = `*nat
:KUMA_MESH_OUTBOUND - [0:0]
-A OUTPUT -p tcp -j KUMA_MESH_OUTBOUND
-A KUMA_MESH_OUTBOUND -s 127.0.0.6/32 -o lo -j RETURN
-A KUMA_MESH_OUTBOUND -p tcp -m tcp --dport 22 -j RETURN
-A KUMA_MESH_OUTBOUND -p tcp -m multiport --dports 443,5000:5100 -j RETURN
-A KUMA_MESH_OUTBOUND -p tcp -m tcp --dport 53 -m owner --uid-owner 106-108 -j RETURN
-A KUMA_MESH_OUTBOUND -o lo -m owner ! --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -m owner --uid-owner 5678 -j RETURN
-A KUMA_MESH_OUTBOUND -d 127.0.0.1/32 -j RETURN
-A KUMA_MESH_OUTBOUND -j KUMA_MESH_OUTBOUND_REDIRECT
`;

describe('readExemptions()', () => {
  test.each([
    [0, 5682, false],
    [5678, 5682, true],
    [0, 22, true],
    [0, 443, true],
    [0, 5099, true],
    [0, 5101, false],
    [107, 53, true],
    [109, 53, false],
  ])('uid %d to port %d: exempt %s', (uid, port, exempt) => {
    expect(isExempt(readExemptions(SAVED) ?? [], { uid, port })).toBe(exempt);
  });

  test('rules of others, or none: nothing is known of a redirect', () => {
    expect(readExemptions('')).toBeUndefined();
    expect(readExemptions('-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -j DNAT')).toBeUndefined();
  });
});

test.each([
  [{ networking: { transparentProxying: { redirectPortOutbound: 15_001 } } }, [], true],
  [{ networking: {} }, ['kuma-dp', 'run', '--transparent-proxy'], true],
  [undefined, ['kuma-dp', 'run', '--transparent-proxy-config=/etc/tp.yaml'], true],
  [undefined, ['kuma-dp', 'run', '--transparent-proxy=false'], false],
  [{ networking: {} }, ['kuma-dp', 'run'], false],
] as const)('%j with %j uses transparent proxying: %s', (resource, argv, uses) => {
  expect(usesTransparentProxy(resource as never, argv)).toBe(uses);
});

test('the remedy names the ports of every endpoint elsewhere, once', () => {
  const urls = [
    'https://cp:5682',
    'grpcs://c-1:5690',
    'grpcs://c-2:5690',
    'https://cp',
    'http://127.0.0.1:5681',
  ];
  const ports = portsOf(urls.map((url) => new URL(url)));
  expect(ports).toEqual([5682, 5690, 443]);
  expect(remedyOfRedirected({ agentUid: 0, kumaDpUid: 998 }, ports)).toContain(
    '--exclude-outbound-ports 5682,5690,443',
  );
});
