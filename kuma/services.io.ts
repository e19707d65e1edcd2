import { OperationalError } from '../kernel/errors.ts';
import { requireAnswer } from './answers.ts';
import type { DataplaneKey } from './dataplane.ts';
import type { RestClient } from './rest-client.io.ts';
import { hasSibling, serviceListPath } from './services.ts';

/**
 * Asks the API server whether another dataplane of the mesh has a ready inbound of this service.
 *
 * @throws {@link OperationalError} as {@link requireAnswer}; `ANSWER_UNREADABLE` also if the answer is no list
 */
export async function lookForSibling(
  client: RestClient,
  { key, service }: { readonly key: DataplaneKey; readonly service: string },
  signal: AbortSignal,
): Promise<boolean> {
  const action = `list the dataplanes of service ${service}`;
  const answer = await client.get(serviceListPath(key.mesh, service), signal);
  requireAnswer(action, answer);
  const found = hasSibling(answer.body, { name: key.name, service });
  if (found !== undefined) return found;
  throw new OperationalError('ANSWER_UNREADABLE', `Cannot ${action}: the answer is not a list of dataplanes`);
}
