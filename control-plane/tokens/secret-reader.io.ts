import type { Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { ERROR_CODES, OperationalError } from '../../kernel/errors.ts';
import { requireAnswer, type RestAnswer } from '../../kuma/answers.ts';
import type { RestClient } from '../../kuma/rest-client.io.ts';
import { readSecret } from '../../kuma/token-secrets.io.ts';
import { Failover } from '../control-planes/failover.io.ts';

/**
 * The limit for all control planes together; on loopback they answer in milliseconds. An agent waits 1 s for its
 * attachment.
 */
const READ_BUDGET_MS = 800;

const PATIENCE_MS = 300;

/**
 * What the secret at a path of Kuma's API holds; `undefined` if there is none.
 *
 * @throws {@link OperationalError} whose message and cause hold nothing of any answer: it might be the secret
 */
export type SecretReader = (path: string) => Promise<Buffer | undefined>;

/** @param clients of the zone's control planes, which share their secrets; with an admin's token or on loopback */
export function secretReader(
  clients: readonly [SecretClient, ...SecretClient[]],
  clock: Clock,
): SecretReader {
  const failover = new Failover<SecretClient>({ clock, targets: clients });
  return async (path) => {
    const action = `read ${path}`;
    try {
      return await withDeadline({ clock, action, budgetMs: READ_BUDGET_MS }, ({ signal }) =>
        failover.first({ action, patienceMs: PATIENCE_MS, signal }, async (client, attempt) =>
          readAnswer(action, await client.get(path, attempt)),
        ),
      );
    } catch (error) {
      throw withoutAnswer(action, error);
    }
  };
}

type SecretClient = Pick<RestClient, 'get'>;

function readAnswer(action: string, answer: RestAnswer): Buffer | undefined {
  if (requireAnswer(action, answer) === 'missing') return undefined;
  const secret = readSecret(answer.body);
  if (secret !== undefined) return secret;
  throw new OperationalError('ANSWER_UNREADABLE', `Cannot ${action}: the answer is not a secret`);
}

/** The client's error quotes the beginning of an unreadable answer, and the parser's error the place. */
function withoutAnswer(action: string, error: unknown): unknown {
  if (!(error instanceof OperationalError)) return error;
  const { code, details, message } = error;
  const quoted = code === 'ANSWER_UNREADABLE' || error.cause !== undefined;
  return new OperationalError(code, quoted ? `Cannot ${action}: ${ERROR_CODES[code].summary}` : message, {
    details,
  });
}
