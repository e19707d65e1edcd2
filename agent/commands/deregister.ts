import { systemClock } from '../../kernel/clock.ts';
import { describeError } from '../../kernel/errors.ts';
import { EXIT_CONFIG, type ChildExit } from '../child/exit-status.pure.ts';
import { writeError } from '../child/standard-streams.io.ts';
import { agentEvents } from '../events.ts';
import { orderEndpoints } from '../object/endpoint-url.pure.ts';
import type { ResolvedDeregisterOptions } from '../options.ts';
import { openEndpoints, readTls, tokensOf } from '../run/connection.ts';
import { agentLog } from './agent-log.ts';
import { attemptAll, deregisterOutright, warnWithoutToken, type Attempts } from './attempt-all.ts';
import { finishRuns, type CallersMeans } from './finish-runs.ts';

type DeregisterEnvironment = Readonly<Record<string, string | undefined>>;

/** A restart of the unit waits for ExecStopPost: this call and the agent's start together stay below two seconds. */
const SERVICE_TIMEOUT_MS = 1_300;

/** Deletes a dataplane's object once, by name or by the state files of killed agents. Idempotent. */
export async function deregister(
  resolved: ResolvedDeregisterOptions,
  env: DeregisterEnvironment,
): Promise<ChildExit> {
  const { values: options, origins } = resolved;
  const service = env['SERVICE_RESULT'] === undefined ? undefined : { invocation: env['INVOCATION_ID'] };
  const isShort = service !== undefined && origins.timeoutMs === 'default';
  try {
    const events = agentEvents(await agentLog(options, env));
    const means = await readMeans(resolved);
    const byMs = systemClock.monotonicMs() + (isShort ? SERVICE_TIMEOUT_MS : options.timeoutMs);
    if (options.state === undefined) return await byName(resolved, means, { events, byMs });
    return await finishRuns({ path: options.state, options, means, service, events, byMs });
  } catch (error) {
    writeError(describeError(error));
    return { code: EXIT_CONFIG, signal: null };
  }
}

/** @throws `CONFIG_INVALID` for a file that cannot be read */
async function readMeans({ values: options }: ResolvedDeregisterOptions): Promise<CallersMeans> {
  const { userTokenFile, dataplaneTokenFile: file } = options;
  const { userToken, dataplaneToken } = tokensOf(userTokenFile, { file, inline: undefined });
  if (userTokenFile !== undefined) await userToken.refresh();
  if (file !== undefined) await dataplaneToken.refresh();
  return {
    tls: readTls(options, undefined),
    userToken: userTokenFile === undefined ? undefined : userToken,
    dataplaneToken: file === undefined ? undefined : dataplaneToken,
  };
}

async function byName(
  { values: options }: ResolvedDeregisterOptions,
  { tls, userToken, dataplaneToken }: CallersMeans,
  attempts: Attempts,
): Promise<ChildExit> {
  const { name = '', mesh = '', proxyType } = options;
  const key = { proxyType, mesh, name };
  const { urls } = orderEndpoints(options.endpoints, { proxyType, fallback: undefined });
  if (dataplaneToken === undefined) warnWithoutToken(urls);
  const none = tokensOf(undefined, { file: undefined, inline: undefined });
  const { endpoints } = await openEndpoints(urls, {
    tls,
    userToken: userToken ?? none.userToken,
    dataplaneToken: dataplaneToken ?? none.dataplaneToken,
  });
  // An operator who names the object wants it deleted, whichever run created it and wherever it listens.
  const departure = { key, own: { incarnation: undefined, address: undefined } };
  const done = await attemptAll(attempts, departure, [{ endpoints, take: deregisterOutright }]);
  return { code: done ? 0 : 1, signal: null };
}
