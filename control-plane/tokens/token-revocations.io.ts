import type { Clock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { readRevocations, revocationPaths } from '../../kuma/token-secrets.io.ts';
import { RefreshingCache } from './refreshing-cache.ts';
import type { TokenProblem, TokenRevocations } from './token-ports.ts';
import type { SecretReader } from './secret-reader.io.ts';
import { keptText } from '../../program/kept-files.ts';

/** How long a control plane may serve a list from its cache, with a margin. */
const FRESH_MS = 10_000;

export interface TokenRevocationsOptions {
  /** `undefined`: the control plane is not asked. */
  readonly read: SecretReader | undefined;
  /** Mounted lists, for every mesh. */
  readonly files: readonly string[];
  readonly clock: Clock;
  readonly report: (problem: TokenProblem) => void;
}

/**
 * Lists of revoked tokens, from the control plane's secrets and from files.
 *
 * A list that is not there is empty: few have one. One that cannot be read (403 to who is not an admin, a control plane
 * that is down) counts as it was last read, else as empty, and is reported: a token that expires is still refused, and
 * agents must be able to say that they leave while the control plane is down.
 *
 * @throws {@link OperationalError} `CONFIG_INVALID` if a file cannot be read
 */
export function tokenRevocations(options: TokenRevocationsOptions): TokenRevocations {
  const { read, report, clock } = options;
  const files = options.files.map((path) =>
    keptText({
      path,
      clock,
      parse: readRevocations,
      expected: 'a list of token ids',
      onKept: (_path, err) => {
        report({ kind: 'file-unusable', path, reason: describeError(err) });
      },
    }),
  );
  const isInSecrets = read === undefined ? undefined : revokedInSecrets(read, options);
  return {
    isRevoked: async (tokenId, mesh) => {
      // Kuma: a token without an id cannot be revoked.
      if (tokenId === '') return false;
      if (files.some((file) => file.fresh.has(tokenId))) return true;
      return (await isInSecrets?.(tokenId, mesh)) ?? false;
    },
  };
}

function revokedInSecrets(
  read: SecretReader,
  { clock, report }: TokenRevocationsOptions,
): (tokenId: string, mesh: string) => Promise<boolean> {
  const unknown = new Set<string>();
  const load = async (path: string): Promise<ReadonlySet<string>> => {
    try {
      const list = readRevocations((await read(path))?.toString('utf8') ?? '');
      unknown.delete(path);
      return list;
    } catch (error) {
      if (!unknown.has(path)) report({ kind: 'revocations-unknown', path, reason: describeError(error) });
      unknown.add(path);
      throw error;
    }
  };
  const cache = new RefreshingCache({ clock, load, freshMs: () => FRESH_MS, lasts: () => true });
  return async (tokenId, mesh) => {
    const lists = await Promise.all(
      revocationPaths(mesh).map((path) => cache.get(path).catch((): ReadonlySet<string> => new Set())),
    );
    return lists.some((list) => list.has(tokenId));
  };
}
