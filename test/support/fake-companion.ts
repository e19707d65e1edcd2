import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  Server,
  ServerCredentials,
  status,
  type handleUnaryCall,
  type Metadata,
  type ServerDuplexStream,
} from '@grpc/grpc-js';

import type { DataplaneResource } from '../../kuma/dataplane.ts';
import { nextObject, readyAs } from '../../kuma/object-wish.ts';
import {
  ConfirmResponse_Verdict,
  DeregisterResponse_Outcome,
  DeregistrarService,
  type AttachRequest,
  type AttachResponse,
  type Attached,
  type ConfirmRequest,
  type ConfirmResponse,
  type ControlPlane,
  type DeregisterRequest,
  type DeregisterResponse,
  type DeregistrarServer,
  type GetControlPlaneRequest,
  type Hello,
  type PhaseChanged,
  type Testimony,
  type RegisterRequest,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { TLS_FIXTURES } from './kuma/control-plane.ts';

export const CONTROL_PLANE: ControlPlane = {
  version: '2.14.3',
  instanceId: 'cp-1',
  mode: 'zone',
  propagation: { seconds: 0, nanos: 50_000_000 },
  deregistrationDelay: { seconds: 10, nanos: 0 },
  hdsDelay: undefined,
  ingressPropagation: undefined,
  lastOfServicePropagation: undefined,
};

export function attachedAs(epoch: number, change: Partial<Attached> = {}): Attached {
  return {
    epoch,
    fenced: true,
    leaving: false,
    held: '',
    grace: { seconds: 15, nanos: 0 },
    controlPlane: CONTROL_PLANE,
    takesOwner: false,
    sendsNews: false,
    ...change,
  };
}

/** A failure as a companion reports it. */
export class Refusal extends Error {
  readonly code: status;
  readonly details: string;

  constructor(code: status, details = status[code]) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

/** Never answers. */
export const silent = (): Promise<never> => new Promise<never>(() => {});

type RegisterReply = { readonly found?: boolean } | undefined | void;

type Say = (message: NonNullable<AttachResponse['message']>) => void;

/** What it says to each kind of request; a reply that throws a {@link Refusal} fails the call. */
export interface CompanionReplies {
  /** @param say sends something before the Attached */
  attach: (hello: Hello, nth: number, say: Say) => Attached | Promise<Attached>;
  /** A reply that leaves fields out means an object that was found and changed, or not found and not changed. */
  register: (request: RegisterRequest) => RegisterReply | Promise<RegisterReply>;
  deregister: (request: DeregisterRequest) => DeregisterResponse | Promise<DeregisterResponse>;
  confirm: (request: ConfirmRequest) => ConfirmResponse | Promise<ConfirmResponse>;
  getControlPlane: (request: GetControlPlaneRequest) => ControlPlane | Promise<ControlPlane>;
}

/** One stream of an agent, with everything that came through it. */
export interface SeenStream {
  readonly hello: Hello;
  readonly token: string | undefined;
  readonly phases: readonly PhaseChanged[];
  readonly reports: readonly string[];
  readonly testimonies: readonly Testimony[];
  readonly open: boolean;
}

export interface SeenCall {
  readonly method: Exclude<keyof CompanionReplies, 'attach'>;
  readonly request: unknown;
  readonly token: string | undefined;
  /** The time limit that the caller stated, in ms; `Infinity` without one. */
  readonly budgetMs: number;
}

export interface FakeCompanionOptions {
  /** Name of a certificate of the fixtures; in clear if left out. */
  readonly certificate?: 'server' | 'expired' | 'wrong-name';
  readonly replies?: Partial<CompanionReplies>;
}

type Stream = ServerDuplexStream<AttachRequest, AttachResponse>;

interface OpenStream extends SeenStream {
  readonly call: Stream;
  readonly phases: PhaseChanged[];
  readonly reports: string[];
  readonly testimonies: Testimony[];
  open: boolean;
}

const DELETED: DeregisterResponse = {
  outcome: DeregisterResponse_Outcome.DELETED,
  guard: '',
  reason: '',
  durable: true,
};

/** A companion without a control plane: answers as a test says, over real gRPC on loopback. */
export class FakeCompanion implements AsyncDisposable {
  readonly replies: CompanionReplies;
  readonly calls: SeenCall[] = [];
  readonly #streams: OpenStream[] = [];
  readonly #certificate: FakeCompanionOptions['certificate'];
  #server: Server | undefined;
  #port = 0;
  #attempts = 0;

  private constructor({ certificate, replies = {} }: FakeCompanionOptions) {
    this.#certificate = certificate;
    this.replies = {
      attach: (_hello, nth) => attachedAs(nth),
      register: () => {},
      deregister: () => DELETED,
      confirm: () => ({ verdict: ConfirmResponse_Verdict.GONE, reason: '' }),
      getControlPlane: () => CONTROL_PLANE,
      ...replies,
    };
  }

  static async start(options: FakeCompanionOptions = {}): Promise<FakeCompanion> {
    const companion = new FakeCompanion(options);
    await companion.resume();
    return companion;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return this.urlAt(this.#port);
  }

  /** Its URL through something that listens on another port. */
  urlAt(port: number): string {
    return `${this.#certificate === undefined ? 'grpc' : 'grpcs'}://127.0.0.1:${port}`;
  }

  /** Streams that were attached, in order. */
  get streams(): readonly SeenStream[] {
    return this.#streams;
  }

  seen(method: SeenCall['method']): readonly SeenCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  /** Ends every stream with a status. */
  cut(code: status, details: string = status[code]): void {
    for (const { call } of this.#streams.filter(({ open }) => open)) {
      call.emit('error', new Refusal(code, details));
    }
  }

  /** Sends a message on every open stream. */
  send(message: AttachResponse['message']): void {
    for (const { call } of this.#streams.filter(({ open }) => open)) call.write({ message });
  }

  /** Ends as in a crash, with its connections. */
  crash(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  /** Listens, on the port that it had before. */
  async resume(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = new Server();
    server.addService(DeregistrarService, this.#service());
    this.#server = server;
    this.#port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.#port}`, this.#credentials(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.crash();
    return Promise.resolve();
  }

  #credentials(): ServerCredentials {
    if (this.#certificate === undefined) return ServerCredentials.createInsecure();
    const file = (suffix: string): Buffer =>
      readFileSync(join(TLS_FIXTURES, `${this.#certificate}.${suffix}`));
    return ServerCredentials.createSsl(null, [{ cert_chain: file('crt'), private_key: file('key') }]);
  }

  #service(): DeregistrarServer {
    return {
      attach: (call: Stream) => {
        this.#accept(call);
      },
      register: this.#unary('register', async (request: RegisterRequest) => {
        const { found = true } = (await this.replies.register(request)) ?? {};
        return { found, changed: found, states: {} };
      }),
      deregister: this.#unary('deregister', (request: DeregisterRequest) => this.replies.deregister(request)),
      confirm: this.#unary('confirm', (request: ConfirmRequest) => this.replies.confirm(request)),
      getControlPlane: this.#unary('getControlPlane', async (request: GetControlPlaneRequest) => ({
        controlPlane: await this.replies.getControlPlane(request),
        siblings: request.services.length === 0 ? 0 : 2,
        silentControlPlanes: [],
      })),
    };
  }

  #unary<Request, Response>(
    method: SeenCall['method'],
    reply: (request: Request) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return (call, callback) => {
      const { request, metadata } = call;
      const deadline = call.getDeadline();
      const budgetMs = (typeof deadline === 'number' ? deadline : deadline.getTime()) - Date.now();
      this.calls.push({ method, request, token: tokenIn(metadata), budgetMs });
      void settle(reply, request).then(([error, response]) => {
        // oxlint-disable-next-line promise/no-callback-in-promise -- it is grpc-js's
        callback(error, response);
      });
    };
  }

  #accept(call: Stream): void {
    let stream: OpenStream | undefined;
    // An agent that vanishes is the subject of the test.
    call.on('error', () => {});
    call.on('data', ({ message }: AttachRequest) => {
      if (message?.$case === 'hello') stream = this.#greet(call, message.value);
      if (message?.$case === 'phaseChanged') stream?.phases.push(message.value);
      if (message?.$case === 'testimony') stream?.testimonies.push(message.value);
      if (message?.$case === 'stopped') stream?.reports.push(message.value.report);
    });
    const onEnd = (): void => {
      if (stream !== undefined) stream.open = false;
    };
    call.on('cancelled', onEnd);
    call.on('close', onEnd);
    call.on('error', onEnd);
    call.on('end', () => {
      onEnd();
      call.end();
    });
  }

  #greet(call: Stream, hello: Hello): OpenStream {
    this.#attempts += 1;
    const nth = this.#attempts;
    const stream: OpenStream = {
      call,
      hello,
      token: tokenIn(call.metadata),
      phases: [],
      reports: [],
      testimonies: [],
      open: true,
    };
    this.#streams.push(stream);
    Promise.resolve()
      .then(() => this.replies.attach(hello, nth, (message) => call.write({ message })))
      .then(
        (attached) => call.write({ message: { $case: 'attached', value: attached } }),
        (error: unknown) => call.emit('error', error),
      );
    return stream;
  }
}

/** The behaviour of a companion of 0.1.0 with this control plane behind it, as far as an agent can see it. */
export function repliesOver(apiUrl: string): Pick<CompanionReplies, 'register' | 'deregister' | 'confirm'> {
  const at = ({ incarnation }: RegisterRequest | DeregisterRequest | ConfirmRequest): string =>
    `${apiUrl}/meshes/${incarnation?.dataplane?.mesh}/dataplanes/${incarnation?.dataplane?.name}`;
  return {
    async register(request) {
      const template = JSON.parse(request.resource.toString()) as DataplaneResource;
      const own = { incarnation: request.incarnation?.id, address: undefined };
      const wish = request.ready ? readyAs(template) : ({ state: 'hidden', takeOver: true } as const);
      const next = nextObject(undefined, { wish, template }, own);
      if (next.next !== 'put') return;
      const answer = await fetch(at(request), { method: 'PUT', body: JSON.stringify(next.resource) });
      if (!answer.ok) throw new Refusal(status.INVALID_ARGUMENT, await answer.text());
    },
    async deregister(request) {
      const answer = await fetch(at(request), { method: 'DELETE' });
      return answer.ok ? DELETED : { ...DELETED, outcome: DeregisterResponse_Outcome.ALREADY_GONE };
    },
    async confirm(request) {
      const answer = await fetch(at(request), { method: 'DELETE' });
      const { GONE, DELETED: AGAIN } = ConfirmResponse_Verdict;
      return { verdict: answer.ok ? AGAIN : GONE, reason: '' };
    },
  };
}

async function settle<Request, Response>(
  reply: (request: Request) => Response | Promise<Response>,
  request: Request,
): Promise<[error: Refusal | null, response: Response | null]> {
  try {
    return [null, await reply(request)];
  } catch (error) {
    return [error as Refusal, null];
  }
}

function tokenIn(metadata: Metadata): string | undefined {
  const [token] = metadata.get('authorization');
  return typeof token === 'string' ? token : undefined;
}
