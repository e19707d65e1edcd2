import { describe, expect, test } from 'vitest';

import { deriveIdentity } from '../../../../agent/identity/dataplane-identity.pure.ts';
import { readKumaDpCommand, type KumaDpCommand } from '../../../../agent/identity/kuma-dp-command.pure.ts';
import type { DataplaneResource } from '../../../../kuma/dataplane.ts';

const RESOURCE: DataplaneResource = {
  type: 'Dataplane',
  mesh: 'default',
  name: 'web-1',
  networking: { address: '10.0.0.1', inbound: [{ port: 80 }] },
};

function command(...args: readonly string[]): KumaDpCommand {
  const read = readKumaDpCommand(['kuma-dp', 'run', ...args], {});
  if (read === undefined) throw new TypeError('not a kuma-dp');
  return read;
}

function problemOf(...[from, resource]: Parameters<typeof deriveIdentity>): string {
  const derived = deriveIdentity(from, resource);
  return 'problem' in derived ? derived.problem : 'none';
}

describe('deriveIdentity()', () => {
  test('takes name and mesh from the resource: the control plane creates it', () => {
    expect(
      deriveIdentity(command('--cp-address=https://cp.example:5678', '--drain-time=10s'), RESOURCE),
    ).toEqual({
      identity: {
        key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
        binding: 'direct',
        resource: RESOURCE,
        defaultEndpoint: new URL('https://cp.example:5682'),
        drainTimeMs: 10_000,
        rewritable: true,
      },
    });
  });

  test('takes name and mesh from the command: an operator applied it', () => {
    expect(deriveIdentity(command('--name=web-1', '--mesh=default'), undefined)).toEqual({
      identity: {
        key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
        binding: 'indirect',
        resource: undefined,
        defaultEndpoint: new URL('https://localhost:5682'),
        drainTimeMs: 30_000,
        rewritable: true,
      },
    });
  });

  test.each(['.', '..'])('refuses %s, which names another object in a URL', (dots) => {
    expect(problemOf(command(), { ...RESOURCE, mesh: dots })).toContain('cannot be the name');
    expect(problemOf(command(`--name=${dots}`, '--mesh=default'), undefined)).toContain('cannot be the name');
  });

  test.for([
    { proxyType: 'ingress', type: 'ZoneIngress' },
    { proxyType: 'egress', type: 'ZoneEgress' },
  ])('a zone $proxyType is in no mesh, whatever is said', ({ proxyType, type }) => {
    const derived = deriveIdentity(command(`--proxy-type=${proxyType}`), {
      type,
      name: 'z-1',
      mesh: 'default',
    });
    expect(derived).toMatchObject({
      identity: { key: { proxyType, mesh: '', name: 'z-1' }, binding: 'direct' },
    });
    expect(deriveIdentity(command(`--proxy-type=${proxyType}`, '--name=z-1'), undefined)).toMatchObject({
      identity: { key: { proxyType, mesh: '', name: 'z-1' }, binding: 'indirect' },
    });
  });

  test.for([
    { address: 'https://cp:5678', endpoint: 'https://cp:5682/' },
    { address: 'http://10.0.0.9:5678/', endpoint: 'https://10.0.0.9:5682/' },
    { address: 'grpcs://cp:5678', endpoint: 'https://cp:5682/' },
    { address: 'https://[::1]:5678', endpoint: 'https://[::1]:5682/' },
    { address: 'https://user:secret@cp', endpoint: 'https://cp:5682/' },
  ])('the API server beside $address is $endpoint', ({ address, endpoint }) => {
    const derived = deriveIdentity(command(`--cp-address=${address}`), RESOURCE);
    expect('identity' in derived && derived.identity.defaultEndpoint.href).toBe(endpoint);
  });

  test('a drain time that kuma-dp would refuse counts as its default: kuma-dp says what is wrong with it', () => {
    expect(deriveIdentity(command('--drain-time=soon'), RESOURCE)).toMatchObject({
      identity: { drainTimeMs: 30_000 },
    });
  });

  test.for<{
    readonly args: readonly string[];
    readonly resource?: DataplaneResource;
    readonly problem: string;
  }>([
    { args: [], problem: "no resource and no --name: the dataplane's name is unknown" },
    { args: ['--mesh=default'], problem: "no resource and no --name: the dataplane's name is unknown" },
    { args: ['--name=a'], problem: "no resource and no --mesh: the dataplane's mesh is unknown" },
    {
      args: [],
      resource: { type: 'Dataplane', name: 'a' },
      problem: "no resource and no --mesh: the dataplane's mesh is unknown",
    },
    {
      args: ['--proxy-type=gateway'],
      resource: RESOURCE,
      problem: 'the agent does not know kuma-dp\'s --proxy-type: "gateway"',
    },
    {
      args: ['--proxy-type=ingress'],
      resource: RESOURCE,
      problem: 'the resource is a Dataplane, --proxy-type ingress takes a ZoneIngress',
    },
    {
      args: [],
      resource: { ...RESOURCE, type: 'Mesh' },
      problem: 'the resource is a Mesh, --proxy-type dataplane takes a Dataplane',
    },
    {
      args: ['--cp-address=10.0.0.9:5678'],
      resource: RESOURCE,
      problem: 'kuma-dp\'s --cp-address is not a URL: "10.0.0.9:5678"',
    },
    {
      args: ['--cp-address=localhost:5678'],
      resource: RESOURCE,
      problem: 'kuma-dp\'s --cp-address is not a URL: "localhost:5678"',
    },
  ])('$args: $problem', ({ args, resource, problem }) => {
    expect(problemOf(command(...args), resource)).toBe(problem);
  });
});
