import { OperationalError } from '../../kernel/errors.ts';
import { requireAnswer } from '../../kuma/answers.ts';
import type { EndpointTls } from '../../kuma/connection-pool.io.ts';
import { describeKey, resourcePath, type DataplaneKey } from '../../kuma/dataplane.ts';
import { readOverview, type DataplaneOverview } from '../../kuma/overview.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';
import { trustKnownRoots } from '../../program/known-roots.ts';
import { userToken } from './user-token.io.ts';

/** A dataplane's overview, and the control plane's clock. */
export interface ObjectLook {
  /** `undefined` if there is no such object. */
  readonly overview: DataplaneOverview | undefined;
  readonly clockMs: number | undefined;
}

export interface ObjectLookRequest {
  readonly url: URL;
  readonly tls: EndpointTls;
  readonly userTokenFile: string | undefined;
  readonly key: DataplaneKey;
}

/** @throws `OperationalError` where the REST API does not answer, or does not let us look */
export async function lookAtObject(request: ObjectLookRequest, signal: AbortSignal): Promise<ObjectLook> {
  const { url, tls, userTokenFile, key } = request;
  if (url.protocol === 'https:' && tls.ca === undefined && !tls.skipVerify) trustKnownRoots();
  const token = userToken(userTokenFile);
  await token.refresh();
  const client = new RestClient({ url, tls, userToken: () => token.current });
  const action = `look at dataplane ${describeKey(key)}`;
  try {
    const answer = await client.get(`${resourcePath(key)}/_overview`, signal);
    const { clockMs } = answer;
    if (requireAnswer(action, answer) === 'missing') return { overview: undefined, clockMs };
    const overview = readOverview(answer.body);
    if (overview !== undefined) return { overview, clockMs };
    throw new OperationalError('ANSWER_UNREADABLE', `Cannot ${action}: the answer is not an overview`);
  } finally {
    client.close();
  }
}
