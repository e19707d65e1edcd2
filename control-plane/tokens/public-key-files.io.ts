import type { Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { readPublicKey } from '../../kuma/token-secrets.io.ts';
import { keptText } from '../../program/kept-files.ts';
import type { PublicKeyFile } from './public-key-option.pure.ts';
import type { TokenKeys, TokenProblem } from './token-ports.ts';

/**
 * Public keys that an operator mounted.
 *
 * @throws {@link OperationalError} `CONFIG_INVALID` if one of them cannot be used
 */
export function publicKeyFiles(
  files: readonly PublicKeyFile[],
  report: (problem: TokenProblem) => void,
  clock: Clock,
): TokenKeys {
  const keys = files.map(({ mesh, kid, path }) => ({
    mesh,
    kid,
    file: keptText({
      path,
      clock,
      parse: readPublicKey,
      expected: 'a public RSA key of 2048 bits or more in PEM, "PUBLIC KEY" or "RSA PUBLIC KEY"',
      onKept: (_path, err) => {
        report({ kind: 'file-unusable', path, reason: describeError(err) });
      },
    }),
  }));
  return {
    // Last wins and every mesh's wins over the mesh's own, as at the control plane: its settings may be copied here.
    find: async ({ mesh, kid }) => {
      const known = keys.filter((key) => key.kid === kid);
      const key = known.findLast((each) => each.mesh === '') ?? known.findLast((each) => each.mesh === mesh);
      return key?.file.fresh;
    },
  };
}
