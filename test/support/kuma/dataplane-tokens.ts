import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';

import { parseDuration } from '../../../kernel/duration.ts';
import { type FieldViolation } from './rest-errors.ts';
import { type ControlPlaneSettings } from './settings.ts';
import { type KumaStore } from './store.ts';
import { traitsOf } from './version-traits.ts';

/** Body of `POST /tokens/dataplane`. */
export interface DataplaneTokenRequest {
  readonly name?: string;
  readonly mesh?: string;
  readonly tags?: Readonly<Record<string, readonly string[]>>;
  readonly type?: string;
  readonly workload?: string;
  readonly validFor?: string;
}

const SIGNING_KEY_PREFIX = 'dataplane-token-signing-key-';
/** As in recorded tokens: the first key of a mesh, made with it. */
const DEFAULT_KEY_ID = 1;
const TEN_YEARS_MS = 10 * 365 * 24 * 3_600_000;
const PROXY_TYPES = new Set(['', 'dataplane', 'ingress', 'egress']);

/**
 * Dataplane tokens as the control plane issues them, signed with the newest key among the mesh's secrets.
 *
 * @see kuma pkg/core/tokens/issuer.go, pkg/tokens/builtin/issuer/token.go, recorded `dataplane-token-decoded.json`
 */
export class DataplaneTokens {
  readonly #store: KumaStore;
  readonly #settings: ControlPlaneSettings;

  constructor(store: KumaStore, settings: ControlPlaneSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  validate(request: DataplaneTokenRequest): readonly FieldViolation[] {
    const { mesh = '', validFor = '', type = '' } = request;
    return [
      ...(mesh === '' ? [{ field: 'mesh', reason: 'cannot be empty' }] : []),
      ...(validFor !== '' && parseDuration(validFor) === undefined
        ? [{ field: 'validFor', reason: `is invalid: time: invalid duration "${validFor}"` }]
        : []),
      ...(PROXY_TYPES.has(type) ? [] : [{ field: 'type', reason: `${type} is not a valid proxy type` }]),
    ];
  }

  /** @returns `undefined` if the mesh has no signing key, as one that does not exist */
  issue(request: DataplaneTokenRequest): string | undefined {
    const { name = '', mesh = '', tags = {}, type = '', workload = '', validFor = '' } = request;
    const key = this.#newestKey(mesh);
    if (key === undefined) return undefined;
    const { tokenWorkload } = traitsOf(this.#settings.version);
    const claims = {
      Name: name,
      Mesh: mesh,
      Tags: tags,
      Type: type,
      ...(tokenWorkload ? { Workload: workload } : {}),
      ...this.#times(validFor === '' ? TEN_YEARS_MS : (parseDuration(validFor) ?? 0)),
      jti: randomUUID(),
    };
    const head = { alg: 'RS256', kid: String(key.id), typ: 'JWT' };
    const signed = [head, claims].map((part) => base64url(JSON.stringify(part))).join('.');
    const signature = sign('sha256', Buffer.from(signed), createPrivateKey(key.pem));
    return `${signed}.${base64url(signature)}`;
  }

  /** Makes the mesh's first signing key, as its creation does, unless it is there. */
  ensureKey(mesh: string): void {
    const name = `${SIGNING_KEY_PREFIX}${mesh}-${DEFAULT_KEY_ID}`;
    if (!this.#settings.meshes.includes(mesh) || this.#keys(mesh).length > 0) return;
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const pem = privateKey.export({ type: 'pkcs1', format: 'pem' });
    this.#store.saveSecret({ mesh, name }, Buffer.from(pem).toString('base64'));
  }

  /** PEM of the mesh's newest signing key's public half, as `kumactl generate public-key` prints it. */
  publicKey(mesh: string): { readonly kid: string; readonly pem: string } {
    const key = this.#newestKey(mesh);
    if (key === undefined) throw new Error(`No such mesh: ${mesh}`);
    const pem = createPublicKey(key.pem).export({ type: 'pkcs1', format: 'pem' }).toString();
    return { kid: String(key.id), pem };
  }

  #newestKey(mesh: string): { readonly id: number; readonly pem: string } | undefined {
    this.ensureKey(mesh);
    return this.#keys(mesh).toSorted((a, b) => b.id - a.id)[0];
  }

  #keys(mesh: string): readonly { readonly id: number; readonly pem: string }[] {
    const prefix = `${SIGNING_KEY_PREFIX}${mesh}`;
    return this.#store.secrets(mesh).flatMap(({ name, data }) => {
      const id = name === prefix ? 0 : Number(/^-(\d+)$/.exec(name.slice(prefix.length))?.[1] ?? Number.NaN);
      if (!name.startsWith(prefix) || Number.isNaN(id)) return [];
      return [{ id, pem: Buffer.from(data, 'base64').toString() }];
    });
  }

  #times(validForMs: number): { readonly exp: number; readonly nbf: number; readonly iat: number } {
    const nowMs = Date.now();
    const { tokenBackdating: backdating } = traitsOf(this.#settings.version);
    return {
      exp: seconds(nowMs + validForMs),
      nbf: seconds(nowMs - backdating.notBeforeMs),
      iat: seconds(nowMs - backdating.issuedAtMs),
    };
  }
}

function seconds(ms: number): number {
  return Math.floor(ms / 1_000);
}

function base64url(data: string | Buffer): string {
  return Buffer.from(data).toString('base64url');
}
