import { Metadata, type handleUnaryCall, type ServerDuplexStream, type ServerUnaryCall } from '@grpc/grpc-js';

import { Engine, type EngineDeps, type EngineSettings } from '../../../control-plane/engine.ts';
import { deregistrarEvents } from '../../../control-plane/events.ts';
import { DEFAULT_BRAKE } from '../../../control-plane/evidence/brake.pure.ts';
import type { PeerConnection } from '../../../control-plane/attached-agent.ts';
import type { WitnessSettings } from '../../../control-plane/witness/witnesses.ts';
import type { Authenticator, Credential } from '../../../control-plane/ports.ts';
import { CallBounds } from '../../../control-plane/rpc/call-bounds.ts';
import { adminService, deregistrarService } from '../../../control-plane/rpc/services.ts';
import type { Clock } from '../../../kernel/clock.ts';
import { OperationalError } from '../../../kernel/errors.ts';
import type {
  AttachRequest,
  AttachResponse,
  ConfirmRequest,
  DeregisterRequest,
  RegisterRequest,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type {
  ReleaseBrakeRequest,
  SweepRequest,
  UndoRequest,
} from '../../../proto/gen/deregistrar/v1/admin.ts';
import { FakeLog } from '../fake-log.ts';
import { FakeAgentStream } from './fake-agent-stream.ts';

export interface MemoryCompanionOptions extends Pick<EngineDeps, 'store' | 'controlPlanes'> {
  readonly clock: Clock;
  readonly replica?: string;
  readonly random?: () => number;
  readonly settings?: Partial<EngineSettings>;
  readonly authenticator?: Authenticator;
  readonly witness?: Partial<WitnessSettings>;
  /** The connection of a stream, by its peer: the name of its dataplane where a test gives no other. */
  readonly isRefused?: EngineDeps['isRefused'];
  readonly connectionOf?: (peer: string) => PeerConnection | undefined;
  /** Ends it; left out: `stop` does. */
  readonly signal?: AbortSignal;
}

/** As the companion's options have them. */
const SETTINGS: EngineSettings = {
  graceMs: 15_000,
  sweepOfflineAfterMs: 600_000,
  sweep: 'delete',
  heal: true,
  brake: DEFAULT_BRAKE,
};

/** Asks no witness unless a test says otherwise. */
const WITNESS_OFF: WitnessSettings = {
  isOn: false,
  networks: { permits: () => true },
  look: (targets) => Promise.resolve(targets.map(() => 'unable')),
  host: 'companion-host',
  onAnswer: () => {},
  onSidelined: () => {},
  onRestored: () => {},
};

/** A failure as a caller of a companion sees it. */
class CallFailure extends Error {
  readonly code: number;

  constructor({ code, details }: { readonly code?: number; readonly details?: string }) {
    super(details ?? '');
    this.code = code ?? -1;
  }
}

/** A whole companion but for its sockets: the engine and the handlers of its services, called in this process. */
export class MemoryCompanion {
  readonly engine: Engine;
  readonly log = new FakeLog();
  /** The share of time in which this process is busy. */
  busyShare = 0;
  readonly healed: number[] = [];
  readonly #clock: Clock;
  readonly #agents: ReturnType<typeof deregistrarService>['implementation'];
  readonly #admin: ReturnType<typeof adminService>['implementation'];
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  #running: Promise<void> | undefined;

  constructor(options: MemoryCompanionOptions) {
    const { clock, store, controlPlanes, replica = 'replica-1', random = () => 0.5 } = options;
    this.#clock = clock;
    this.#signal = options.signal ?? this.#over.signal;
    this.engine = new Engine({
      clock,
      random,
      store,
      controlPlanes,
      replica,
      events: deregistrarEvents(this.log),
      settings: { ...SETTINGS, ...options.settings },
      onAttempt: () => {},
      onHealed: () => {
        this.healed.push(clock.monotonicMs());
      },
      witness: { ...WITNESS_OFF, ...options.witness },
      busyShare: () => this.busyShare,
      ...(options.isRefused === undefined ? {} : { isRefused: options.isRefused }),
    });
    this.#agents = deregistrarService({
      engine: this.engine,
      authenticator: options.authenticator ?? TRUSTING,
      onDenied: () => {},
      bounds: new CallBounds({ clock, onRefused: () => {} }),
      markAuthenticated: () => undefined,
      connectionOf: (call) => options.connectionOf?.(call.getPeer()),
    }).implementation;
    this.#admin = adminService(this.engine, clock.monotonicMs()).implementation;
  }

  start(): this {
    this.#running ??= this.engine.run(this.#signal);
    return this;
  }

  /** Resolves once everything in progress has ended. */
  async stop(): Promise<void> {
    this.#over.abort(new OperationalError('CANCELLED', 'Cancelled: the companion stops'));
    await this.#running;
  }

  /**
   * @param token the name of the dataplane that it is for
   * @param peer by which its connection is known
   */
  attach(token: string, peer = token): FakeAgentStream {
    const open = this.#agents.attach as (stream: ServerDuplexStream<AttachRequest, AttachResponse>) => void;
    return new FakeAgentStream(open, metadataOf(token), peer);
  }

  register(request: RegisterRequest, budgetMs?: number) {
    return this.#call(this.#agents.register, request, { token: nameOf(request), budgetMs });
  }

  deregister(request: DeregisterRequest, budgetMs?: number) {
    return this.#call(this.#agents.deregister, request, { token: nameOf(request), budgetMs });
  }

  confirm(request: ConfirmRequest, budgetMs?: number) {
    return this.#call(this.#agents.confirm, request, { token: nameOf(request), budgetMs });
  }

  status() {
    return this.#call(this.#admin.getStatus, { mesh: '' }, {});
  }

  sweep(request: SweepRequest) {
    return this.#call(this.#admin.sweep, request, {});
  }

  undo(request: UndoRequest) {
    return this.#call(this.#admin.undo, request, {});
  }

  releaseBrake(request: ReleaseBrakeRequest) {
    return this.#call(this.#admin.releaseBrake, request, {});
  }

  #call<Request, Response>(
    handle: handleUnaryCall<Request, Response>,
    request: Request,
    caller: { readonly token?: string; readonly budgetMs?: number | undefined },
  ): Promise<Response> {
    const { token = '', budgetMs } = caller;
    const deadline = budgetMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.wallMs() + budgetMs;
    const call = {
      request,
      metadata: metadataOf(token),
      getDeadline: () => deadline,
      getPeer: () => '127.0.0.1:1',
    };
    return new Promise((resolve, reject) => {
      handle(call as unknown as ServerUnaryCall<Request, Response>, (error, response) => {
        if (error !== null) reject(new CallFailure(error));
        else resolve(response as Response);
      });
    });
  }
}

/** A token is the name that it is bound to; an empty one is refused. */
const TRUSTING: Authenticator = {
  authenticate(token, { mesh }): Promise<Credential> {
    if (token === '') return Promise.reject(new OperationalError('UNAUTHENTICATED', 'No dataplane token'));
    return Promise.resolve({ name: token, mesh, tags: {}, workload: '', id: token });
  },
};

function nameOf({ incarnation }: Pick<DeregisterRequest, 'incarnation'>): string {
  return incarnation?.dataplane?.name ?? '';
}

function metadataOf(token: string): Metadata {
  const metadata = new Metadata();
  if (token !== '') metadata.set('authorization', token);
  return metadata;
}
