/**
 * A process that deletes through a fence and pauses where its plan says. Prints its result as one JSON line.
 *
 * The fence is a file: while it is missing, the name is held.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Agent as HttpAgent, type AgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';

import { OperationalError } from '../../kernel/errors.ts';
import { RestClient } from '../../kuma/rest-client.io.ts';

export interface FencedDeletePlan {
  readonly url: string;
  readonly caFile: string;
  /** Whether an earlier request left a connection open. */
  readonly connection: 'fresh' | 'reused';
  /**
   * `stop`: SIGSTOP to itself with the connection open and nothing written. `block`: no turn of the event loop after
   * the check.
   */
  readonly halt: 'stop' | 'block';
  /** `stop`: the fence is lost once this exists. `block`: it continues once this exists, or after a while. */
  readonly file: string;
}

const PATIENCE_MS = 20_000;

function stop(): void {
  process.kill(process.pid, 'SIGSTOP');
}

/** Stops before every other listener for an open connection. */
function stopOnceConnected(prototype: HttpAgent, event: 'connect' | 'secureConnect'): void {
  // oxlint-disable-next-line typescript/unbound-method -- it is called on what the new one is called on
  const create = prototype.createConnection;
  prototype.createConnection = function createConnection(
    this: HttpAgent,
    options: AgentOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ) {
    const socket = create.call(this, options, callback);
    socket?.prependOnceListener(event, stop);
    return socket;
  };
}

/** Blocks this process until the file exists. @returns whether it does */
function blockUntil(file: string): boolean {
  const still = new Int32Array(new SharedArrayBuffer(4));
  const until = performance.now() + PATIENCE_MS;
  while (!existsSync(file) && performance.now() < until) Atomics.wait(still, 0, 0, 5);
  return existsSync(file);
}

async function main({ url, caFile, connection, halt, file }: FencedDeletePlan): Promise<unknown> {
  const ca = readFileSync(caFile, 'utf8');
  const client = new RestClient({
    url: new URL(url),
    tls: { ca, clientCertificate: undefined, clientKey: undefined, skipVerify: false },
    userToken: () => undefined,
  });
  const { signal } = new AbortController();
  if (connection === 'reused') await client.get('warm', signal);
  if (halt === 'stop' && connection === 'fresh') {
    stopOnceConnected(HttpAgent.prototype, 'connect');
    stopOnceConnected(HttpsAgent.prototype, 'secureConnect');
  }
  let arrived: boolean | undefined;
  const check = (): void => {
    if (halt === 'stop' && existsSync(file)) throw new OperationalError('FENCE_LOST', 'Held for too long');
    if (halt === 'block') queueMicrotask(() => (arrived = blockUntil(file)));
  };
  const deleted = client.deleteFenced('thing', check, signal);
  if (halt === 'stop' && connection === 'reused') stop();
  try {
    return { status: (await deleted).status, arrived };
  } catch (error) {
    return { code: error instanceof OperationalError ? error.code : String(error), arrived };
  } finally {
    client.close();
  }
}

const plan = JSON.parse(process.argv[2] ?? '') as FencedDeletePlan;
process.stdout.write(`${JSON.stringify(await main(plan))}\n`);
