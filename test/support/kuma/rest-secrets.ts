import { type DataplaneTokenRequest, type DataplaneTokens } from './dataplane-tokens.ts';
import { denied, type User } from './rest-access.ts';
import { type Answer, errorAnswer, invalid, METHOD_NOT_ALLOWED, notFound } from './rest-errors.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type Fields, type SecretKey, type KumaStore } from './store.ts';

export interface SecretRequest {
  readonly path: string;
  readonly method: string;
  readonly body: string;
  readonly user: User;
}

/** Secrets and tokens made with them: for administrators only. */
export class RestSecrets {
  readonly #store: KumaStore;
  readonly #settings: ControlPlaneSettings;
  readonly #tokens: DataplaneTokens;

  constructor(store: KumaStore, settings: ControlPlaneSettings, tokens: DataplaneTokens) {
    this.#store = store;
    this.#settings = settings;
    this.#tokens = tokens;
  }

  /** @returns `undefined` for a path that is about something else */
  answer(request: SecretRequest): Answer | undefined {
    if (request.path === 'tokens/dataplane') return this.#issue(request);
    const parts = /^(?:global-secrets|meshes\/([^/]+)\/secrets)\/([^/]+)$/.exec(request.path);
    const name = parts?.[2];
    return name === undefined ? undefined : this.#secret({ mesh: parts?.[1] ?? '', name }, request);
  }

  #issue({ method, body, user }: SecretRequest): Answer {
    if (method !== 'POST') return METHOD_NOT_ALLOWED;
    const request = JSON.parse(body) as DataplaneTokenRequest;
    const violations = this.#tokens.validate(request);
    if (violations.length > 0) return invalid('Invalid request', violations);
    if (user !== 'admin') return denied('generate dataplane token');
    const token = this.#tokens.issue(request);
    if (token !== undefined) return { status: 200, contentType: 'text/plain', body: token };
    const { mesh = '' } = request;
    return errorAnswer({
      status: 404,
      title: 'Signing Key not found',
      detail: `there is no signing key with KID 1. Secret of name "dataplane-token-signing-key-${mesh}-1" in mesh "${mesh}" is not found. If signing key was rotated, regenerate the token`,
    });
  }

  #secret(key: SecretKey, { method, body, user }: SecretRequest): Answer {
    const type = key.mesh === '' ? 'GlobalSecret' : 'Secret';
    if (key.mesh !== '' && !this.#settings.meshes.includes(key.mesh)) {
      return notFound('Failed to retrieve Mesh');
    }
    if (user !== 'admin') return denied(`the resource of type "${type}"`);
    if (key.name.startsWith('dataplane-token-signing-key-')) this.#tokens.ensureKey(key.mesh);
    switch (method) {
      case 'GET':
        return this.#get(type, key);
      case 'PUT': {
        const existed = this.#store.findSecret(key) !== undefined;
        this.#store.saveSecret(key, String((JSON.parse(body) as Fields)['data']));
        return { status: existed ? 200 : 201, body: {} };
      }
      case 'DELETE':
        return this.#store.deleteSecret(key)
          ? { status: 200, body: {} }
          : notFound('Could not delete a resource');
      default:
        return METHOD_NOT_ALLOWED;
    }
  }

  #get(type: string, key: SecretKey): Answer {
    const secret = this.#store.findSecret(key);
    if (secret === undefined) return notFound('Could not retrieve a resource');
    const { name, mesh, creationTime, modificationTime, data } = secret;
    const meta = { type, ...(mesh === '' ? {} : { mesh }), name, creationTime, modificationTime };
    return { status: 200, body: { ...meta, data } };
  }
}
