import { join } from 'node:path';

import {
  type BootstrapAnswer,
  type BootstrapRequest,
  type GatewayListener,
  keyOf,
  type NodeInfo,
} from './bootstrap-protocol.ts';
import { type BootstrapReply } from './dataplane-server.ts';
import { networkingOf } from './dataplane-model.ts';
import { egressDir, publishedServices } from './endpoints-file.ts';
import { validateSpec } from './dataplane-validation.ts';
import { specOf } from './rest-views.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Fields, type KumaStore } from './store.ts';
import { traitsOf } from './version-traits.ts';

/** Unix socket paths are limited to 107 bytes; Kuma cuts at this length before it adds the suffix. */
const MAX_SOCKET_PATH = 98;

/**
 * Kuma's `POST /bootstrap`: 404 with an empty body for a dataplane that should have been applied before, 422 for a
 * resource that is not valid.
 *
 * @see kuma v2.14.3 pkg/xds/bootstrap/handler.go
 */
export function bootstrapReply(
  request: BootstrapRequest,
  store: KumaStore,
  settings: ControlPlaneSettings,
): BootstrapReply {
  const traits = traitsOf(settings.version);
  const { dataplaneResource } = request;
  const given = dataplaneResource === '' ? undefined : specOf(JSON.parse(dataplaneResource) as Fields);
  if (request.proxyType === 'dataplane' && !settings.meshes.includes(request.mesh)) {
    return { status: 422, body: `mesh: mesh "${request.mesh}" does not exist` };
  }
  const spec = given ?? store.find(keyOf(request))?.spec;
  if (spec === undefined) return { status: 404, body: '' };
  const [violation] = validateSpec(keyOf(request).type, spec, traits);
  if (violation !== undefined) return { status: 422, body: `${violation.field}: ${violation.reason}` };

  const admin = adminOf(request, spec, settings);
  const node: NodeInfo = {
    mesh: request.mesh,
    name: request.name,
    proxyType: request.proxyType,
    resource: dataplaneResource === '' ? undefined : dataplaneResource,
    workdir: request.workdir,
    readinessPort: request.readinessPort,
    envoyBuild: request.envoyBuild,
    admin,
  };
  const endpointsDir = endpointsDirOf(request, settings);
  const body: BootstrapAnswer = {
    version: settings.version,
    spec,
    admin,
    healthFeedback: settings.healthFeedback,
    unifiedNames: traits.unifiedNames,
    reusePort: traits.reusePort,
    endpointsDir,
    protocols: { ...settings.protocols, ...protocolsOf(store) },
    mtls: settings.mtls,
    passedOn: request.proxyType === 'dataplane' ? [] : publishedServices(endpointsDir),
    idleTimeouts: settings.idleTimeouts,
    gatewayListeners: gatewayListenersOf(spec, settings),
    node,
  };
  return { status: 200, body };
}

/** An egress passes on what leads to other zones. */
function endpointsDirOf(
  { proxyType }: BootstrapRequest,
  { endpointsDir }: ControlPlaneSettings,
): string | undefined {
  return endpointsDir !== undefined && proxyType === 'egress' ? egressDir(endpointsDir) : endpointsDir;
}

function protocolsOf(store: KumaStore): Readonly<Record<string, string>> {
  const inbounds = store.list('Dataplane').flatMap(({ spec }) => networkingOf(spec).inbound ?? []);
  return Object.fromEntries(
    inbounds.flatMap(({ tags }) => {
      const service = tags?.['kuma.io/service'];
      return service === undefined ? [] : [[service, tags?.['kuma.io/protocol'] ?? 'tcp']];
    }),
  );
}

function gatewayListenersOf(spec: Fields, { gateways }: ControlPlaneSettings): readonly GatewayListener[] {
  const gateway = networkingOf(spec).gateway as
    | { readonly type?: string; readonly tags?: Readonly<Record<string, string>> }
    | undefined;
  if (gateway?.type !== 'BUILTIN') return [];
  return gateways.filter(({ service }) => service === gateway.tags?.['kuma.io/service']);
}

function adminOf(
  { workdir }: BootstrapRequest,
  spec: Fields,
  settings: ControlPlaneSettings,
): BootstrapAnswer['admin'] {
  if (traitsOf(settings.version).adminSocket) return { socket: adminSocket(workdir) };
  return { port: networkingOf(spec).admin?.port ?? settings.adminPort };
}

function adminSocket(workdir: string): string {
  const path = join(workdir, 'kuma-envoy-admin');
  return `${path.slice(0, MAX_SOCKET_PATH)}.sock`;
}
