import { parseDuration } from '../../kernel/duration.ts';
import {
  PROXY_TYPES,
  RESOURCE_TYPES,
  type DataplaneKey,
  type DataplaneResource,
  type ProxyType,
} from '../../kuma/dataplane.ts';
import { DRAIN_TIME_MS, type KumaDpCommand } from './kuma-dp-command.pure.ts';

/** `direct`: kuma-dp brings the resource and its CP creates it. `indirect`: an operator applied it beforehand. */
export type Binding = 'direct' | 'indirect';

/** The dataplane's identity and its control plane, from the wrapped command. */
export interface DataplaneIdentity {
  readonly key: DataplaneKey;
  readonly binding: Binding;
  /** The rendered resource; `undefined` for `indirect`. */
  readonly resource: DataplaneResource | undefined;
  /** Kuma's REST API beside the dataplane server, HTTPS, port 5682. */
  readonly defaultEndpoint: URL;
  /** How long kuma-dp itself drains when nothing shortens it. */
  readonly drainTimeMs: number;
  /** Whether the command can be given `--name` and `--mesh` in place of the resource. */
  readonly rewritable: boolean;
}

export type Derived = { readonly identity: DataplaneIdentity } | { readonly problem: string };

/** In the path of a URL they would name another object: `/meshes/../dataplanes/web-1`. */
const DOTS = /^\.{1,2}$/;
const KUMA_API_HTTPS_PORT = '5682';

/** @param resource what the Dataplane file or inline text renders to; `undefined` if the command names none */
export function deriveIdentity(command: KumaDpCommand, resource: DataplaneResource | undefined): Derived {
  const proxyType = PROXY_TYPES.find((known) => known === command.proxyType);
  if (proxyType === undefined) {
    return { problem: `the agent does not know kuma-dp's --proxy-type: "${command.proxyType}"` };
  }
  const expected = RESOURCE_TYPES[proxyType];
  if (resource !== undefined && resource.type !== expected) {
    return { problem: `the resource is a ${resource.type}, --proxy-type ${proxyType} takes a ${expected}` };
  }
  const { name } = resource ?? command;
  const mesh = meshOf(proxyType, resource ?? command);
  if (name === '') return { problem: "no resource and no --name: the dataplane's name is unknown" };
  if (mesh === undefined) {
    return { problem: "no resource and no --mesh: the dataplane's mesh is unknown" };
  }
  const dots = [name, mesh].find((part) => DOTS.test(part));
  if (dots !== undefined) return { problem: `"${dots}" cannot be the name of a dataplane or a mesh` };
  const defaultEndpoint = endpointBeside(command.cpAddress);
  if (defaultEndpoint === undefined) {
    return { problem: `kuma-dp's --cp-address is not a URL: "${command.cpAddress}"` };
  }
  return {
    identity: {
      key: { proxyType, mesh, name },
      binding: resource === undefined ? 'indirect' : 'direct',
      resource,
      defaultEndpoint,
      drainTimeMs: parseDuration(command.drainTime) ?? DRAIN_TIME_MS,
      rewritable: command.rewritable,
    },
  };
}

/** Zone proxies are in no mesh. */
function meshOf(proxyType: ProxyType, said: { readonly mesh?: string | undefined }): string | undefined {
  if (proxyType !== 'dataplane') return '';
  return said.mesh === '' ? undefined : said.mesh;
}

function endpointBeside(cpAddress: string): URL | undefined {
  const address = URL.parse(cpAddress);
  if (address === null || address.hostname === '') return undefined;
  return new URL(`https://${address.hostname}:${KUMA_API_HTTPS_PORT}`);
}
