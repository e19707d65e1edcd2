import { randomUUID } from 'node:crypto';

import { credentials, type ClientDuplexStream } from '@grpc/grpc-js';

import {
  DeregistrarClient,
  DeregisterResponse_Outcome as Outcome,
  Owner,
  type AttachRequest,
  type AttachResponse,
} from '../proto/gen/deregistrar/v1/deregistrar.ts';

/** The smallest Dataplane. */
export function dataplane(name: string): Readonly<Record<string, unknown>> {
  return {
    type: 'Dataplane',
    mesh: 'default',
    name,
    networking: {
      address: '127.0.0.1',
      inbound: [
        {
          port: 10_001,
          servicePort: 20_001,
          tags: { 'kuma.io/service': 'backend', 'kuma.io/protocol': 'http' },
        },
      ],
    },
  };
}

/** An agent's connection to the companion, with a stream and pings. */
export class BenchAgent {
  readonly name: string;
  readonly #client: DeregistrarClient;
  readonly #id = randomUUID();
  #stream: ClientDuplexStream<AttachRequest, AttachResponse> | undefined;

  constructor(address: string, name: string) {
    this.name = name;
    this.#client = new DeregistrarClient(address, credentials.createInsecure(), {
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 1_000,
    });
  }

  attach(): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = this.#client.attach();
      this.#stream = stream;
      stream.once('data', () => {
        resolve();
      });
      stream.on('data', () => {});
      stream.on('error', reject);
      stream.write({
        message: {
          $case: 'hello',
          value: {
            incarnation: this.#incarnation,
            owner: Owner.CONTROL_PLANE,
            deletable: true,
            resource: new TextEncoder().encode(JSON.stringify(dataplane(this.name))) as Buffer,
            phase: 'running',
            epoch: 0,
            answersAsks: false,
            looks: false,
            waits: false,
            takesNews: false,
            agentVersion: 'bench',
          },
        },
      });
    });
  }

  /** @throws if there is no answer or a refusal; the companion continues by itself */
  deregister(): Promise<'deleted' | 'accepted'> {
    return new Promise((resolve, reject) => {
      this.#client.deregister({ incarnation: this.#incarnation }, (error, response) => {
        if (error !== null) reject(error);
        else if (response.outcome === Outcome.DELETED) resolve('deleted');
        else if (response.outcome === Outcome.ACCEPTED) resolve('accepted');
        else reject(new Error(`${response.outcome}: ${response.reason}`));
      });
    });
  }

  close(): void {
    this.#stream?.on('error', () => {});
    this.#stream?.cancel();
    this.#client.close();
  }

  get #incarnation() {
    return { dataplane: { mesh: 'default', name: this.name }, id: this.#id, address: '' };
  }
}
