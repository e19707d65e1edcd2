import { randomUUID } from 'node:crypto';

import {
  credentials,
  Metadata,
  status,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';

import {
  DeregistrarClient,
  Owner,
  type Attached,
  type AttachRequest,
  type AttachResponse,
  type ConfirmResponse,
  type ControlPlane,
  type DeregisterResponse,
  type GetControlPlaneResponse,
  type Hello,
  type Incarnation,
  type Look,
  type RegisterResponse,
  type Rotation_Turn,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { called, within } from './unary-call.ts';

export interface AttachedClientOptions {
  /** Where the companion listens: `127.0.0.1:5690`, `unix:…`. */
  readonly address: string;
  readonly name: string;
  /** `default` if left out. */
  readonly mesh?: string;
  /** A new random one if left out. */
  readonly incarnation?: string;
  /** Sent raw, as kuma-dp does; nothing if left out. */
  readonly token?: string;
  /** Plain text if left out. */
  readonly credentials?: ChannelCredentials;
  /** The resource that it brings and registers. */
  readonly resource?: Readonly<Record<string, unknown>>;
  /** More fields of its Hello. */
  readonly hello?: Partial<Hello>;
}

/** How a stream ended: the gRPC `code` and the companion's words. */
export interface ClientStreamEnd {
  readonly code: status;
  readonly details: string;
}

const PATIENCE_MS = 30_000;

/** An agent that sends exactly what a test says, over real gRPC, on a connection of its own. */
export class AttachedClient implements Disposable {
  readonly incarnation: Incarnation;
  /** What the companion said on the current stream, in order. */
  readonly heard: NonNullable<AttachResponse['message']>[] = [];
  readonly client: DeregistrarClient;
  /** Called when the companion asks it to look. */
  onLook: (look: Look) => void = () => {};
  readonly #options: AttachedClientOptions;
  #call: ClientDuplexStream<AttachRequest, AttachResponse> | undefined;
  #ended = Promise.withResolvers<ClientStreamEnd>();

  constructor(options: AttachedClientOptions) {
    const { address, name, mesh = 'default', incarnation = randomUUID() } = options;
    this.#options = options;
    this.incarnation = { dataplane: { mesh, name }, id: incarnation, address: '' };
    this.client = new DeregistrarClient(address, options.credentials ?? credentials.createInsecure(), {
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
    });
  }

  /** The end of the current stream, on either side. */
  get ended(): Promise<ClientStreamEnd> {
    return this.#ended.promise;
  }

  get metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#options.token !== undefined) metadata.set('authorization', this.#options.token);
    return metadata;
  }

  get hello(): Hello {
    const { resource, hello } = this.#options;
    return {
      incarnation: this.incarnation,
      owner: Owner.CONTROL_PLANE,
      deletable: true,
      resource: bytesOf(resource),
      phase: 'starting',
      agentVersion: 'test',
      epoch: 0,
      answersAsks: false,
      looks: false,
      waits: false,
      takesNews: false,
      ...hello,
    };
  }

  /** Opens a stream and sends nothing; {@link say} sends. */
  open(): void {
    this.heard.length = 0;
    const ended = Promise.withResolvers<ClientStreamEnd>();
    this.#ended = ended;
    const { metadata } = this;
    // The companion may only just be starting again.
    metadata.setOptions({ waitForReady: true });
    const call = this.client.attach(metadata);
    this.#call = call;
    call.on('data', ({ message }: AttachResponse) => {
      if (message !== undefined) this.heard.push(message);
      if (message?.$case === 'look') this.onLook(message.value);
    });
    call.on('error', ({ code, details }: ServiceError) => {
      ended.resolve({ code, details });
    });
    call.on('status', ({ code, details }: ServiceError) => {
      ended.resolve({ code, details });
    });
    call.on('end', () => {});
  }

  say(message: AttachRequest['message']): void {
    this.#call?.write({ message });
  }

  /** Attaches, for the first time or again. @throws Error with the companion's code and words if it refuses */
  async attach(): Promise<Attached> {
    if (this.#call === undefined || this.heard.length > 0) this.open();
    const call = this.#call;
    this.say({ $case: 'hello', value: this.hello });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`Not attached within ${PATIENCE_MS} ms`));
      }, PATIENCE_MS);
      const settle = (): void => {
        clearTimeout(timer);
      };
      call?.on('data', ({ message }: AttachResponse) => {
        if (message?.$case !== 'attached') return;
        settle();
        resolve(message.value);
      });
      void this.ended.then(({ code, details }) => {
        settle();
        reject(new Error(`${status[code]}: ${details}`));
      });
    });
  }

  phase(phase: string, serving = false): void {
    this.say({ $case: 'phaseChanged', value: { phase, serving, owner: Owner.UNSPECIFIED } });
  }

  /** @param keep whether its object stays at its end (--on-crash keep) */
  report(report: unknown, keep = false): void {
    this.say({ $case: 'stopped', value: { report: JSON.stringify(report), keep } });
  }

  /** Ends the stream without a message, as a process does that ends normally. */
  hangUp(): void {
    this.#call?.end();
  }

  /** Ends the stream as a killed process does: without a message, and with silence afterwards. */
  vanish(): void {
    this.#call?.cancel();
    this.client.close();
  }

  /** Registers as agents of 0.1.0 do. */
  register(ready: boolean, resource = this.#options.resource, budgetMs?: number): Promise<unknown> {
    const request = {
      incarnation: this.incarnation,
      resource: bytesOf(resource),
      ready,
      rotation: undefined,
      wish: undefined,
    };
    return answered((done) => this.client.register(request, this.metadata, deadline(budgetMs), done));
  }

  rotate(turn: Rotation_Turn, states: Readonly<Record<string, string>> = {}): Promise<RegisterResponse> {
    const rotation = { turn, states, leaveProbed: false };
    const request = {
      incarnation: this.incarnation,
      resource: Buffer.alloc(0),
      ready: false,
      rotation,
      wish: undefined,
    };
    return answered((done) => this.client.register(request, this.metadata, deadline(), done));
  }

  /** @param signal cancels the call, not the departure */
  deregister(
    options: { readonly budgetMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<DeregisterResponse> {
    const { budgetMs, signal } = options;
    const request = { incarnation: this.incarnation };
    return answered((done) => {
      const call = this.client.deregister(request, this.metadata, deadline(budgetMs), done);
      signal?.addEventListener('abort', () => {
        call.cancel();
      });
    });
  }

  /** Deregisters as an agent does: repeats a call that a busy machine answers too late. */
  async leave(budgetMs: number): Promise<DeregisterResponse> {
    for (;;) {
      try {
        return await this.deregister({ budgetMs });
      } catch (error) {
        if (!(error instanceof Refused) || !LATE.has(error.code)) throw error;
      }
    }
  }

  confirm(): Promise<ConfirmResponse> {
    const request = { incarnation: this.incarnation, serving: false };
    return answered((done) => this.client.confirm(request, this.metadata, deadline(), done));
  }

  async getControlPlane(): Promise<ControlPlane | undefined> {
    const { dataplane } = this.incarnation;
    const request = { dataplane, services: [], findSilent: false };
    const { controlPlane } = await answered<GetControlPlaneResponse>((done) =>
      this.client.getControlPlane(request, this.metadata, deadline(), done),
    );
    return controlPlane;
  }

  [Symbol.dispose](): void {
    this.#call?.on('error', () => {});
    this.vanish();
  }
}

/** In the words of {@link AttachedClient}'s errors: `NOT_FOUND: …`. */
const LATE: ReadonlySet<status> = new Set([status.DEADLINE_EXCEEDED, status.UNAVAILABLE, status.ABORTED]);

class Refused extends Error {
  readonly code: status;

  constructor({ code, details }: ServiceError) {
    super(`${status[code]}: ${details}`);
    this.code = code;
  }
}

/** @throws Refused */
async function answered<Response>(call: Parameters<typeof called<Response>>[0]): Promise<Response> {
  try {
    return await called(call);
  } catch (error) {
    throw new Refused(error as ServiceError);
  }
}

function deadline(budgetMs = PATIENCE_MS): ReturnType<typeof within> {
  return within(budgetMs);
}

function bytesOf(resource: Readonly<Record<string, unknown>> | undefined): Buffer {
  return Buffer.from(resource === undefined ? '' : JSON.stringify(resource));
}
