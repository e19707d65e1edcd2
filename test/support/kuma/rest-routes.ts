import { DataplaneTokens } from './dataplane-tokens.ts';
import { validateMeta, validateSpec } from './dataplane-validation.ts';
import { type ResourceManager } from './resource-manager.ts';
import { identify, UNAUTHENTICATED, type User, whoAmI } from './rest-access.ts';
import {
  type Answer,
  errorAnswer,
  invalid,
  METHOD_NOT_ALLOWED,
  notFound,
  PAGE_NOT_FOUND,
  READ_ONLY,
} from './rest-errors.ts';
import { listAnswer } from './rest-paging.ts';
import { RestSecrets } from './rest-secrets.ts';
import { overviewView, resourceView, specOf } from './rest-views.ts';
import { type ControlPlaneSettings, effectiveConfig, recorded } from './settings.ts';
import {
  type Fields,
  type ResourceKey,
  type ResourceType,
  type KumaStore,
  type StoredObject,
} from './store.ts';
import { traitsOf, type VersionTraits } from './version-traits.ts';

export interface RestRequest {
  readonly method: string;
  /** With the origin that the client used: `next` links are built from it. */
  readonly url: URL;
  readonly authorization: string | undefined;
  readonly body: string;
}

export interface RestDependencies {
  readonly settings: ControlPlaneSettings;
  readonly store: KumaStore;
  readonly manager: ResourceManager;
  readonly instanceId: string;
  /** Called after an object was deleted over REST. */
  readonly deleted: (key: ResourceKey) => void;
}

interface Target {
  readonly type: ResourceType;
  /** `undefined`: all meshes (a list) or none (a zone proxy). */
  readonly mesh: string | undefined;
  readonly name: string | undefined;
  readonly overview: boolean;
}

/**
 * Kuma's API server without sockets: one request in, one answer out.
 *
 * @see recorded answers in `recorded/`
 */
export class RestRoutes {
  readonly #dependencies: RestDependencies;
  readonly #traits: VersionTraits;
  readonly #secrets: RestSecrets;

  constructor(dependencies: RestDependencies) {
    this.#dependencies = dependencies;
    const { store, settings } = dependencies;
    this.#traits = traitsOf(settings.version);
    this.#secrets = new RestSecrets(store, settings, new DataplaneTokens(store, settings));
  }

  answer(request: RestRequest): Answer {
    const user = identify(request.authorization, this.#dependencies.settings);
    const segments = request.url.pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map((segment) => decodeURIComponent(segment));
    if (segments.length === 0) return request.method === 'GET' ? this.#index() : METHOD_NOT_ALLOWED;
    if (user === 'unauthenticated') return UNAUTHENTICATED;
    const target = parseTarget(segments, this.#traits);
    if (target !== undefined) return this.#answerResource(target, request);
    const { method, body } = request;
    const secret = this.#secrets.answer({ path: segments.join('/'), method, body, user });
    return secret ?? this.#answerOther(segments, method, user);
  }

  #index(): Answer {
    const { settings, store, instanceId } = this.#dependencies;
    const body = recorded(settings.version, 'index').body as Fields;
    const hostname = instanceId.replace(/-[^-]*$/, '');
    return {
      status: 200,
      body: { ...body, clusterId: store.clusterId, hostname, instanceId, version: settings.version },
    };
  }

  #answerOther(segments: readonly string[], method: string, user: User): Answer {
    const path = segments.join('/');
    if (path === 'config' && method === 'GET') {
      return { status: 200, body: effectiveConfig(this.#dependencies.settings) };
    }
    if (path === 'who-am-i' && method === 'GET') return whoAmI(user);
    return PAGE_NOT_FOUND;
  }

  #answerResource(target: Target, request: RestRequest): Answer {
    const { settings } = this.#dependencies;
    const { type, mesh, name } = target;
    if (type === 'Dataplane' && mesh !== undefined && !settings.meshes.includes(mesh)) {
      return notFound('Failed to retrieve Mesh');
    }
    if (name === undefined)
      return request.method === 'GET' ? this.#list(target, request.url) : METHOD_NOT_ALLOWED;
    const key: ResourceKey = { type, mesh: mesh ?? '', name };
    if (request.method === 'GET') return this.#get(key, target.overview);
    return target.overview ? METHOD_NOT_ALLOWED : this.#write(key, request);
  }

  #write(key: ResourceKey, { method, body }: RestRequest): Answer {
    if (method !== 'PUT' && method !== 'DELETE') return METHOD_NOT_ALLOWED;
    if (this.#dependencies.settings.mode === 'global') return READ_ONLY;
    return method === 'PUT' ? this.#put(key, body) : this.#delete(key);
  }

  #list(target: Target, url: URL): Answer {
    const view = (object: StoredObject): unknown => this.#view(object, target.overview);
    const objects = this.#dependencies.store.list(target.type, target.mesh);
    return listAnswer(objects, { url, traits: this.#traits, view });
  }

  #get(key: ResourceKey, overview: boolean): Answer {
    const object = this.#dependencies.store.find(key);
    if (object === undefined) return notFound('Could not retrieve a resource');
    return { status: 200, body: this.#view(object, overview) };
  }

  #view(object: StoredObject, overview: boolean): unknown {
    if (!overview) return resourceView(object, this.#traits);
    return overviewView(object, this.#dependencies.store.findInsight(object), this.#traits);
  }

  #put(key: ResourceKey, text: string): Answer {
    const title = 'Could not process a resource';
    const body = parseObject(text);
    if (body === undefined) {
      return errorAnswer({
        status: 400,
        title: 'Bad Request',
        detail: `invalid ${key.type} object: not JSON`,
      });
    }
    const spec = specOf(body);
    const violations = validateSpec(key.type, spec, this.#traits);
    if (violations.length > 0) return invalid(title, violations);
    const meta = validateMeta(key, body);
    const wrongType = body['type'] === key.type ? [] : [TYPE_MISMATCH];
    if (meta.length + wrongType.length > 0) return invalid(title, [...meta, ...wrongType]);
    const labels = (body['labels'] ?? {}) as Record<string, string>;
    const outcome = this.#dependencies.manager.upsert(key, { spec, labels });
    return this.#written(outcome === 'created' ? 201 : 200);
  }

  #delete(key: ResourceKey): Answer {
    if (!this.#dependencies.store.delete(key)) return notFound('Could not delete a resource');
    this.#dependencies.deleted(key);
    return this.#written(200);
  }

  #written(status: number): Answer {
    return this.#traits.answersWrites ? { status, body: {} } : { status };
  }
}

const TYPE_MISMATCH = { field: 'type', reason: 'type from the URL has to be the same as in body' };

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined;
  } catch {
    return undefined;
  }
}

/** @returns `undefined` for a path that is not about dataplanes or zone proxies, or not known to the version */
function parseTarget(segments: readonly string[], traits: VersionTraits): Target | undefined {
  if (segments[0] === 'meshes' && segments[1] !== undefined) {
    return targetIn('Dataplane', segments[1], { segments: segments.slice(2), paths: ['dataplanes'] });
  }
  return (
    targetIn('Dataplane', undefined, { segments, paths: ['dataplanes'] }) ??
    targetIn('ZoneIngress', undefined, { segments, paths: traits.zoneIngressPaths }) ??
    targetIn('ZoneEgress', undefined, { segments, paths: traits.zoneEgressPaths })
  );
}

interface Location {
  readonly segments: readonly string[];
  readonly paths: readonly string[];
}

/** `…/PATH`, `…/PATH/_overview`, `…/PATH/NAME`, `…/PATH/NAME/_overview` and the older `…/PATH+insights[/NAME]`. */
function targetIn(type: ResourceType, mesh: string | undefined, location: Location): Target | undefined {
  const [head = '', ...rest] = location.segments;
  const legacy = head.endsWith('+insights');
  if (!location.paths.includes(legacy ? head.slice(0, -'+insights'.length) : head)) return undefined;
  const asked = rest.at(-1) === '_overview';
  const names = asked ? rest.slice(0, -1) : rest;
  const allMeshes = type === 'Dataplane' && mesh === undefined;
  if (names.length > 1 || (legacy && asked) || (allMeshes && names.length > 0)) return undefined;
  return { type, mesh, name: names[0], overview: asked || legacy };
}
