import { type WorldOptions } from './kuma-world.ts';

interface MeshPolicy {
  /** REST path of a PUT. */
  readonly path: string;
  readonly body: unknown;
}

/**
 * The mesh `default` without the policies that Kuma would make, and with policies that express the emulator's settings.
 */
export function meshPolicies(options: WorldOptions): readonly MeshPolicy[] {
  const { gateways = [], idleTimeouts = {}, mtls = false, zoneEgress = false } = options;
  const mesh = {
    type: 'Mesh',
    name: 'default',
    skipCreatingInitialPolicies: ['*'],
    ...(mtls ? { mtls: { enabledBackend: 'ca', backends: [{ name: 'ca', type: 'builtin' }] } } : {}),
    ...(zoneEgress ? { routing: { zoneEgress: true } } : {}),
  };
  const everybody = { from: [{ targetRef: { kind: 'Mesh' }, default: { action: 'Allow' } }] };
  return [
    { path: '/meshes/default', body: mesh },
    ...(mtls
      ? [policy('MeshTrafficPermission', 'all', { spec: { targetRef: { kind: 'Mesh' }, ...everybody } })]
      : []),
    ...gateways.flatMap(({ name, service, port, backend }) => [
      policy('MeshGateway', name, {
        selectors: [{ match: { 'kuma.io/service': service } }],
        conf: { listeners: [{ port, protocol: 'HTTP', tags: { port: 'http' } }] },
      }),
      policy('MeshHTTPRoute', name, {
        spec: {
          targetRef: { kind: 'MeshGateway', name },
          to: [{ targetRef: { kind: 'Mesh' }, rules: [routeTo(backend)] }],
        },
      }),
    ]),
    ...Object.entries(idleTimeouts).map(([service, ms]) =>
      policy('MeshTimeout', `idle-${service}`, {
        spec: {
          targetRef: { kind: 'Mesh' },
          to: [{ targetRef: { kind: 'MeshService', name: service }, default: { idleTimeout: `${ms}ms` } }],
        },
      }),
    ),
  ];
}

function routeTo(backend: string): unknown {
  return {
    matches: [{ path: { type: 'PathPrefix', value: '/' } }],
    default: { backendRefs: [{ kind: 'MeshService', name: backend, weight: 1 }] },
  };
}

function policy(type: string, name: string, content: Readonly<Record<string, unknown>>): MeshPolicy {
  return {
    path: `/meshes/default/${type.toLowerCase()}s/${name}`,
    body: { type, mesh: 'default', name, ...content },
  };
}
