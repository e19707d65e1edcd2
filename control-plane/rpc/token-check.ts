import { ServerInterceptingCall, status, type Metadata, type ServerInterceptor } from '@grpc/grpc-js';

import { addressBlockOf } from '../../kernel/address-block.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { parseJson } from '../../kernel/json.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { Authenticator, Credential } from '../ports.ts';
import { asServiceError } from './answers.ts';
import type { CallBounds } from './call-bounds.ts';

export interface TokenCheckDeps {
  readonly authenticator: Authenticator;
  readonly bounds: CallBounds;
  readonly events: DeregistrarEvents;
  /** The path prefix of the service that requires a token. */
  readonly service: string;
}

/** Like Kuma: one, or none at all. */
function tokenOf(metadata: Metadata): string {
  const [token, ...others] = metadata.get('authorization');
  return typeof token === 'string' && others.length === 0 ? token : '';
}

/**
 * Checks the token of a call by its headers, before it reads anything of the message: strangers could send messages
 * that take long to read. The result is kept for the handler.
 */
export class TokenCheck {
  readonly #deps: TokenCheckDeps;
  readonly #checked = new WeakMap<Metadata, { readonly mesh: string; readonly credential: Credential }>();

  constructor(deps: TokenCheckDeps) {
    this.#deps = deps;
  }

  /** @throws as {@link Authenticator.authenticate} */
  authenticate(
    { metadata, address }: { readonly metadata: Metadata; readonly address: string },
    mesh: string,
  ): Promise<Credential> {
    const known = this.#checked.get(metadata);
    if (known?.mesh === mesh) return Promise.resolve(known.credential);
    return this.#deps.authenticator.authenticate(tokenOf(metadata), { mesh, address });
  }

  get interceptor(): ServerInterceptor {
    const prefix = `/${this.#deps.service}/`;
    return ({ path }, call) =>
      path.startsWith(prefix) ? this.#intercept(call) : new ServerInterceptingCall(call);
  }

  #intercept(call: ConstructorParameters<typeof ServerInterceptingCall>[0]): ServerInterceptingCall {
    let release: (() => void) | undefined;
    const checked = async (metadata: Metadata): Promise<boolean> => {
      const address = addressBlockOf(call.getPeer());
      try {
        release = await this.#check(metadata, address);
        return true;
      } catch (error) {
        if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
        await this.#deps.bounds.beforeRefusal(address);
        const { code = status.INTERNAL, details = '' } = asServiceError(error);
        call.sendStatus({ code, details });
        return false;
      }
    };
    const done = (): void => {
      release?.();
    };
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, pass) => {
            void checked(metadata).then((good) => {
              if (good) pass(metadata);
            });
          },
          onReceiveMessage: (message, pass) => {
            done();
            pass(message);
          },
          onCancel: done,
        });
      },
    });
  }

  /** @returns the place that is held until the message has been read, for a token that names no mesh */
  async #check(metadata: Metadata, address: string): Promise<(() => void) | undefined> {
    const { authenticator, bounds } = this.#deps;
    const token = tokenOf(metadata);
    const mesh = claimedMesh(token);
    if (mesh === undefined) return bounds.readUnchecked(address);
    const credential = await authenticator.authenticate(token, { mesh, address });
    this.#checked.set(metadata, { mesh, credential });
    return undefined;
  }
}

/**
 * The mesh that the unchecked token claims: that mesh's keys check it.
 *
 * @returns empty for an invalid token, `undefined` for a token that names no mesh
 */
function claimedMesh(token: string): string | undefined {
  const payload = token.split('.')[1];
  if (payload === undefined) return '';
  const claims = parseJson(Buffer.from(payload, 'base64url').toString('utf8'));
  if (typeof claims !== 'object' || claims === null) return '';
  const { Mesh: mesh } = claims as { readonly Mesh?: unknown };
  return typeof mesh === 'string' && mesh !== '' ? mesh : undefined;
}
