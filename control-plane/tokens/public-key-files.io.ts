import type { KeyObject } from 'node:crypto';

import type { Clock } from '../../kernel/clock.ts';
import { readPublicKey } from '../../kuma/token-secrets.io.ts';
import type { PublicKeyFile } from './public-key-option.pure.ts';
import type { TokenKeys, TokenProblem } from './token-ports.ts';
import { WatchedFile } from '../../program/watched-file.ts';

export interface PublicKeyFilesOptions {
  readonly files: readonly PublicKeyFile[];
  readonly clock: Clock;
  readonly report: (problem: TokenProblem) => void;
}

/**
 * Public keys that an operator mounted.
 *
 * @throws {@link OperationalError} `CONFIG_INVALID` if one of them cannot be used
 */
export async function publicKeyFiles({ files, clock, report }: PublicKeyFilesOptions): Promise<TokenKeys> {
  const keys = await Promise.all(
    files.map(async ({ mesh, kid, path }) => ({
      mesh,
      kid,
      file: await WatchedFile.open<KeyObject>({
        path,
        parse: readPublicKey,
        expected: 'a public RSA key of 2048 bits or more in PEM, "PUBLIC KEY" or "RSA PUBLIC KEY"',
        clock,
        report,
      }),
    })),
  );
  return {
    // Last wins and every mesh's wins over the mesh's own, as at the control plane: its settings may be copied here.
    find: async ({ mesh, kid }) => {
      const known = keys.filter((key) => key.kid === kid);
      const key = known.findLast((each) => each.mesh === '') ?? known.findLast((each) => each.mesh === mesh);
      return key?.file.current();
    },
  };
}
