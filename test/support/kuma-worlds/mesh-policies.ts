import { type WorldOptions } from './kuma-world.ts';

interface MeshPolicy {
  /** REST path of a PUT. */
  readonly path: string;
  readonly body: unknown;
}

/** The policies of a real mesh that say what the emulator is told as `gateways` and `idleTimeouts`. */
export function meshPolicies({ gateways = [], idleTimeouts = {} }: WorldOptions): readonly MeshPolicy[] {
  return [
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
