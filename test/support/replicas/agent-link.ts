import { credentials, Metadata, status, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';

import {
  DeregistrarClient,
  Owner,
  type Attached,
  type AttachRequest,
  type AttachResponse,
  type DeregisterRequest,
  type DeregisterResponse,
  type Hello,
  type RegisterRequest,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { called, within } from '../unary-call.ts';

/** How a stream ended. */
export type LinkEnd = 'redirected' | 'superseded' | 'lost';

/** As an agent's, but quicker: it gives a silent replica up within 2 s. */
const OPTIONS = {
  'grpc.keepalive_time_ms': 1_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
};
const PATIENCE_MS = 5_000;
const CALL_MS = 3_000;

/** One connection of an agent to one replica. */
export class AgentLink {
  readonly address: string;
  readonly #client: DeregistrarClient;
  #call: ClientDuplexStream<AttachRequest, AttachResponse> | undefined;

  constructor(address: string) {
    this.address = address;
    this.#client = new DeregistrarClient(address, credentials.createInsecure(), OPTIONS);
  }

  /** Resolves when the stream has ended, or did not open in time. Never throws. */
  async attach(hello: Hello, onAttached: (attached: Attached) => void): Promise<LinkEnd> {
    const { promise, resolve } = Promise.withResolvers<LinkEnd>();
    const call = this.#client.attach();
    this.#call = call;
    const tooLate = setTimeout(() => {
      call.cancel();
    }, PATIENCE_MS);
    call.on('data', ({ message }: AttachResponse) => {
      clearTimeout(tooLate);
      if (message?.$case === 'attached') onAttached(message.value);
      else if (message?.$case === 'redirected') resolve('redirected');
    });
    call.on('error', ({ code }: ServiceError) => {
      resolve(code === status.FAILED_PRECONDITION ? 'superseded' : 'lost');
    });
    call.on('end', () => {
      resolve('lost');
    });
    call.write({ message: { $case: 'hello', value: hello } });
    const end = await promise;
    clearTimeout(tooLate);
    return end;
  }

  say(phase: string, serving: boolean): void {
    this.#call?.write({
      message: { $case: 'phaseChanged', value: { phase, serving, owner: Owner.UNSPECIFIED } },
    });
  }

  /** @throws ServiceError */
  register(request: RegisterRequest): Promise<unknown> {
    return called((done) => this.#client.register(request, new Metadata(), within(CALL_MS), done));
  }

  /** @throws ServiceError */
  deregister(request: DeregisterRequest, budgetMs = CALL_MS): Promise<DeregisterResponse> {
    return called((done) => this.#client.deregister(request, new Metadata(), within(budgetMs), done));
  }

  close(): void {
    this.#call?.cancel();
    this.#client.close();
  }
}
