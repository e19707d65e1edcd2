import { OperationalError } from '../../../../kernel/errors.ts';
import type { SecretReader } from '../../../../control-plane/tokens/secret-reader.io.ts';

/** Secrets of a control plane that exists only here. */
export class SecretsAtHand {
  readonly secrets = new Map<string, string | Buffer>();
  /** The paths that were read, in order. */
  readonly reads: string[] = [];
  /** The error of every read, while it is set. */
  failure: OperationalError | undefined;
  /** Whether reads are held until {@link release}. */
  held = false;
  #release = Promise.withResolvers<void>();

  readonly read: SecretReader = async (path) => {
    this.reads.push(path);
    if (this.held) await this.#release.promise;
    if (this.failure !== undefined) throw this.failure;
    const secret = this.secrets.get(path);
    return secret === undefined ? undefined : Buffer.from(secret);
  };

  release(): void {
    this.held = false;
    this.#release.resolve();
    this.#release = Promise.withResolvers();
  }
}

export const DOWN = new OperationalError('ENDPOINT_UNREACHABLE', 'Cannot read it: connection refused');
export const FORBIDDEN = new OperationalError('ENDPOINT_REJECTED', 'Cannot read it: status 403', {
  details: { status: 403 },
});
