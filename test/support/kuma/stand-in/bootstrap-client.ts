import { request } from 'node:https';

import { type BootstrapAnswer, type BootstrapRequest } from '../bootstrap-protocol.ts';
import { type Configuration } from './configuration.ts';
import { CommandError } from './flags.ts';
import { log } from './log.ts';

const REQUEST_TIMEOUT_MS = 10_000;

interface Reply {
  readonly status: number;
  readonly body: string;
}

/**
 * Asks the control plane until it answers, rejects the request, the time is up or `stopped` aborts.
 *
 * @throws {@link CommandError} in kuma-dp's words
 * @see kuma v2.14.3 app/kuma-dp/pkg/dataplane/envoy/remote_bootstrap.go
 */
export async function fetchBootstrap(
  body: BootstrapRequest,
  configuration: Configuration,
  stopped: AbortSignal,
): Promise<BootstrapAnswer> {
  const givesUpAt = performance.now() + configuration.retryMaxMs;
  for (;;) {
    log('INFO', 'trying to fetch bootstrap configuration from the Control Plane');
    const outcome = await attempt(body, configuration, stopped);
    if (typeof outcome !== 'string') return outcome;
    throwIfStopped(stopped);
    log('INFO', `${outcome}. Retrying.`, { backoff: `${configuration.retryBackoffMs}ms` });
    await pause(configuration.retryBackoffMs, stopped);
    throwIfStopped(stopped);
    if (performance.now() > givesUpAt) throw failure(outcome);
  }
}

/** @returns the answer, or why to try again */
async function attempt(
  body: BootstrapRequest,
  configuration: Configuration,
  stopped: AbortSignal,
): Promise<BootstrapAnswer | string> {
  let reply: Reply;
  try {
    reply = await post(JSON.stringify(body), configuration, stopped);
  } catch (error) {
    return `could not fetch bootstrap configuration: request to bootstrap server failed: ${(error as Error).message}`;
  }
  if (reply.status === 200) return JSON.parse(reply.body) as BootstrapAnswer;
  if (reply.status === 404 && reply.body === '') {
    return 'Dataplane entity is not yet found in the Control Plane';
  }
  if (reply.status === 404 && reply.body === '404: Page Not Found') {
    return 'There is no /bootstrap endpoint for provided CP address';
  }
  if (Math.floor(reply.status / 100) === 4) throw failure(`Invalid request: ${reply.body}`);
  return `unexpected status code: ${reply.status}`;
}

function post(body: string, configuration: Configuration, signal: AbortSignal): Promise<Reply> {
  const { caCert, skipVerify } = configuration;
  const options = {
    method: 'POST',
    signal,
    agent: false as const,
    rejectUnauthorized: !skipVerify,
    headers: { accept: 'application/json', 'content-type': 'application/json' },
    ...(caCert === '' ? {} : { ca: caCert }),
  };
  return new Promise((resolve, reject) => {
    const call = request(new URL('/bootstrap', configuration.controlPlaneUrl), options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, body: text });
      });
      response.on('error', reject);
    });
    call.setTimeout(REQUEST_TIMEOUT_MS, () => {
      call.destroy(new Error('context deadline exceeded'));
    });
    call.on('error', reject);
    call.end(body);
  });
}

function pause(delayMs: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    function done(): void {
      clearTimeout(timer);
      stopped.removeEventListener('abort', done);
      resolve();
    }
    stopped.addEventListener('abort', done);
  });
}

function throwIfStopped(stopped: AbortSignal): void {
  if (stopped.aborted) throw failure('context canceled');
}

function failure(reason: string): CommandError {
  return new CommandError(`Failed to fetch Envoy bootstrap config. ${reason}`);
}
