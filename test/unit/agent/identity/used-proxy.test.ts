import { describe, expect, test } from 'vitest';

import type { DataplaneIdentity } from '../../../../agent/identity/dataplane-identity.pure.ts';
import { usedProxy } from '../../../../agent/identity/used-proxy.pure.ts';
import type { DataplaneResource, ProxyType } from '../../../../kuma/dataplane.ts';

function identity(
  networking: DataplaneResource['networking'],
  proxyType: ProxyType = 'dataplane',
): DataplaneIdentity {
  return {
    key: { proxyType, mesh: 'default', name: 'web-1' },
    binding: 'direct',
    resource: { type: 'Dataplane', name: 'web-1', networking },
    defaultEndpoint: new URL('https://cp:5682'),
    drainTimeMs: 30_000,
    rewritable: true,
  };
}

describe('usedProxy()', () => {
  test.for<{ readonly kind: string; readonly of: DataplaneIdentity }>([
    { kind: 'sidecar', of: identity({ inbound: [{ port: 80 }] }) },
    { kind: 'sidecar', of: { ...identity({}), resource: undefined, binding: 'indirect' } },
    { kind: 'delegated gateway', of: identity({ gateway: {} }) },
    { kind: 'delegated gateway', of: identity({ gateway: { type: 'DELEGATED' } }) },
    { kind: 'builtin gateway', of: identity({ gateway: { type: 'BUILTIN' } }) },
    { kind: 'zone ingress', of: identity({}, 'ingress') },
    { kind: 'zone ingress', of: identity({ listeners: [{ type: 'ZoneIngress', port: 10_001 }] }) },
    { kind: 'zone egress', of: identity({}, 'egress') },
  ])('$kind', ({ kind, of }) => {
    expect(usedProxy(of)).toMatchObject({ kind, drainTimeMs: 30_000 });
  });

  test.for<{
    readonly name: string;
    readonly networking: DataplaneResource['networking'];
    readonly ports: readonly string[];
  }>([
    {
      name: 'the service port on the service address',
      networking: {
        address: '10.0.0.1',
        inbound: [{ port: 80, servicePort: 8_080, serviceAddress: '127.0.0.1' }],
      },
      ports: ['127.0.0.1:8080'],
    },
    {
      name: "by default the dataplane's own address",
      networking: { address: '10.0.0.1', inbound: [{ port: 80, servicePort: 8_080 }] },
      ports: ['10.0.0.1:8080'],
    },
    {
      name: "or the inbound's",
      networking: { address: '10.0.0.1', inbound: [{ address: '10.0.0.2', port: 80, servicePort: 8_080 }] },
      ports: ['10.0.0.2:8080'],
    },
    {
      name: 'where Envoy itself listens, nothing can be asked',
      networking: { address: '10.0.0.1', inbound: [{ port: 80 }] },
      ports: [],
    },
    {
      name: 'with transparent proxying, loopback, since other addresses lead into Envoy',
      networking: { address: '10.0.0.1', inbound: [{ port: 80 }], transparentProxying: {} },
      ports: ['127.0.0.1:80'],
    },
    { name: 'no inbounds', networking: { address: '10.0.0.1' }, ports: [] },
  ])('$name', ({ networking, ports }) => {
    const { applicationPorts } = usedProxy(identity(networking));
    expect(applicationPorts.map(({ host, port }) => `${host}:${port}`)).toEqual(ports);
  });
});
