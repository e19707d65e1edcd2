import { status, type handleBidiStreamingCall, type ServerDuplexStream } from '@grpc/grpc-js';

import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import {
  Owner,
  type AttachRequest,
  type AttachResponse,
  type Hello,
  type PhaseChanged,
} from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import { toWireDuration } from '../../proto/wire-duration.ts';
import type { AgentChannel, AttachedAgent, PeerConnection, WitnessTestimony } from '../attached-agent.ts';
import type { AttachedAgents } from '../agents/attached-agents.ts';
import { crashPoint } from '../departures/crash-points.ts';
import type { DeregistrarEvents } from '../events.ts';
import type { ZoneWatch } from '../evidence/zone-watch.ts';
import { asControlPlane, asServiceError, isRefusal } from './answers.ts';
import type { AttachQueue, Lane } from './attach-queue.ts';
import { subjectOf, type Authorise } from './authorisation.ts';
import type { CallBounds } from './call-bounds.ts';
import { callerOf, type CallerOf, type MarkAuthenticated } from './callers.ts';
import { readHello, readOwner, readPhase, readTestimony } from './requests.ts';

export interface AttachDeps {
  readonly clock: Clock;
  readonly events: DeregistrarEvents;
  readonly authorise: Authorise;
  readonly agents: AttachedAgents;
  readonly queue: AttachQueue;
  /** Whether the store expects this incarnation back. */
  readonly isExpected: (incarnation: string) => boolean;
  readonly watch: ZoneWatch;
  readonly graceMs: number;
  readonly bounds: CallBounds;
  readonly markAuthenticated: MarkAuthenticated;
  /** Called with a testimony, on the stream of its question. */
  readonly onTestified: (agent: AttachedAgent, testimony: WitnessTestimony) => void;
  readonly connectionOf: (call: Pick<AttachCall, 'getPeer'>) => PeerConnection | undefined;
}

type AttachCall = ServerDuplexStream<AttachRequest, AttachResponse>;

/** How long an agent may take to send its Hello. */
const HELLO_BUDGET_MS = 10_000;
/** How long a redirected agent may keep its stream. */
const REDIRECT_BUDGET_MS = 5_000;
/** Load balancers that read HTTP/2 end a stream without messages after 60 s, and do not pass pings on. */
const ASK_AGAIN_MS = 35_000;
const MAX_REPORT = 16_384;
/** The phase of an agent that holds its kuma-dp back, so that it can put the object first. */
const STARTING = 'starting';

export function attach(deps: AttachDeps): handleBidiStreamingCall<AttachRequest, AttachResponse> {
  return (stream) => {
    new AttachedStream(deps, stream).run();
  };
}

/** One agent's stream: a Hello, then phases, until it ends. */
class AttachedStream {
  readonly #deps: AttachDeps;
  readonly #stream: AttachCall;
  readonly #connection: PeerConnection | undefined;
  readonly #caller: CallerOf;
  /** Disarms the running time limit: for the Hello, or after a redirect. */
  #disarm: () => void;
  #stopAsking: () => void = () => {};
  #admission: Promise<AttachedAgent | undefined> | undefined;
  #releasePlace: (() => void) | undefined;
  #ended = false;
  #answersAsks = false;
  #takesNews = false;

  constructor(deps: AttachDeps, stream: AttachCall) {
    this.#deps = deps;
    this.#stream = stream;
    this.#connection = deps.connectionOf(stream);
    this.#caller = callerOf(stream, {
      admit: (caller) => {
        this.#releasePlace = deps.bounds.openStream(caller);
        // The stream may have ended while its token was checked.
        if (this.#ended) this.#releasePlace();
        return Promise.resolve();
      },
      markAuthenticated: deps.markAuthenticated,
    });
    this.#disarm = deps.clock.after(HELLO_BUDGET_MS, () => {
      this.#fail(
        new OperationalError('REQUEST_INVALID', 'Cannot read the request: the first message is missing'),
      );
    });
  }

  run(): void {
    const stream = this.#stream;
    stream.on('data', (request: AttachRequest) => {
      this.#receive(request);
    });
    stream.on('end', () => {
      this.#onEnd('it was closed');
      stream.end();
    });
    stream.on('cancelled', () => {
      this.#onEnd('the connection was lost');
    });
    stream.on('error', () => {
      this.#onEnd('the connection failed');
    });
  }

  #receive({ message }: AttachRequest): void {
    if (message?.$case === 'hello' && this.#admission === undefined) {
      this.#disarm();
      this.#admission = this.#admitInTurn(message.value).catch(async (error: unknown) => {
        if (error instanceof OperationalError && isRefusal(error))
          await this.#deps.bounds.beforeRefusal(this.#caller.address);
        this.#fail(error);
        return undefined;
      });
      return;
    }
    if (this.#admission === undefined || message === undefined || message.$case === 'hello') {
      this.#fail(
        new OperationalError('REQUEST_INVALID', 'Cannot read the request: it must begin with one Hello'),
      );
      return;
    }
    // Handles messages in order, before the end of the stream, which may arrive together with the last message.
    this.#admission = this.#admission.then(async (agent) => {
      if (agent !== undefined) await this.#note(agent, message);
      return agent;
    });
  }

  async #admitInTurn(hello: Hello): Promise<AttachedAgent | undefined> {
    const { queue } = this.#deps;
    const onWait = (withinMs: number): void => {
      this.#send({ $case: 'waiting', value: { within: toWireDuration(withinMs) } });
    };
    this.#connection?.waits();
    const done = await queue.enter({
      lane: this.#laneOf(hello),
      hasGone: () => this.#ended,
      onWait: hello.waits ? onWait : undefined,
    });
    this.#connection?.begins();
    if (done === undefined) return undefined;
    try {
      return await this.#admit(hello);
    } finally {
      done();
    }
  }

  #laneOf({ phase, owner, incarnation }: Hello): Lane {
    if (phase === STARTING && owner === Owner.AGENT) return 'start';
    return this.#deps.isExpected(incarnation?.id ?? '') ? 'return' : 'other';
  }

  async #admit(hello: Hello): Promise<AttachedAgent | undefined> {
    const { authorise, agents } = this.#deps;
    const { introduction: said, brought } = readHello(hello);
    const introduction = { ...said, peer: this.#connection?.address };
    this.#answersAsks = hello.answersAsks;
    this.#takesNews = hello.takesNews;
    const credential = await authorise(this.#caller, introduction.key, brought);
    if (this.#hasEnded()) return undefined;
    this.#keepAsking();
    const admission = await agents.open(
      introduction,
      this.#channel({
        looks: hello.looks,
        version: hello.agentVersion,
        subject: subjectOf(credential, introduction.key),
      }),
    );
    crashPoint('attach.recorded');
    if ('superseded' in admission) {
      this.#supersede();
      return undefined;
    }
    if (!this.#hasEnded()) return admission.agent;
    await agents.close(admission.agent, { reason: 'it was closed', cause: 'closed' }, false);
    return undefined;
  }

  /** The caller may hang up at every await. */
  #hasEnded(): boolean {
    return this.#ended;
  }

  #channel(of: Pick<AgentChannel, 'looks' | 'version' | 'subject'>): AgentChannel {
    const { watch, graceMs, clock } = this.#deps;
    const attached = (epoch: number | undefined, how: { leaving: boolean; held: string }): void => {
      const fences = { epoch: epoch ?? 0, fenced: epoch !== undefined, ...how };
      const zone = { grace: toWireDuration(graceMs), controlPlane: asControlPlane(watch.facts) };
      this.#send({ $case: 'attached', value: { ...fences, ...zone, takesOwner: true, sendsNews: true } });
    };
    return {
      address: this.#connection?.address,
      ...of,
      look: ({ id, targets, control, timeoutMs }) => {
        const { closedPort = 0, ...place } = control ?? {};
        const looked = {
          id,
          targets: [...targets],
          control: control === undefined ? undefined : { address: '', port: 0, ...place },
          closedPort,
          timeout: toWireDuration(timeoutMs),
        };
        this.#send({ $case: 'look', value: looked });
      },
      attached: (epoch, leaving) => {
        attached(epoch, { leaving, held: '' });
      },
      held: (reason) => {
        attached(undefined, { leaving: false, held: reason });
      },
      ask: () => {
        this.#send({ $case: 'ask', value: {} });
      },
      heardBytes: () => (this.#answersAsks ? undefined : this.#connection?.heardBytes),
      redirect: (reason) => {
        if (this.#ended) return;
        this.#send({ $case: 'redirected', value: { reason } });
        this.#disarm();
        this.#disarm = clock.after(REDIRECT_BUDGET_MS, () => {
          this.#stream.end();
        });
      },
      supersede: () => {
        this.#supersede();
      },
      news: () => {
        if (this.#takesNews) this.#send({ $case: 'news', value: asControlPlane(watch.facts) });
      },
    };
  }

  async #note(agent: AttachedAgent, message: NonNullable<AttachRequest['message']>): Promise<void> {
    const { agents } = this.#deps;
    if (message.$case === 'phaseChanged') {
      await this.#notePhase(agent, message.value);
    } else if (message.$case === 'testimony') {
      this.#deps.onTestified(agent, readTestimony(message.value));
    } else if (message.$case === 'stopped') {
      agents.reported(agent, readReport(message.value.report));
      if (message.value.keep) await this.#keep(agent);
    }
  }

  async #notePhase(agent: AttachedAgent, { phase, serving, owner }: PhaseChanged): Promise<void> {
    const { agents } = this.#deps;
    try {
      agents.phaseChanged(agent, readPhase(phase), serving);
      const changed = readOwner(owner);
      if (changed !== undefined) await agents.ownerChanged(agent, changed);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The end of the stream waits until the last message is recorded. */
  async #keep(agent: AttachedAgent): Promise<void> {
    try {
      await this.#deps.agents.keep(agent);
    } catch (error) {
      if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
    }
  }

  /** The agent's answer is traffic too, so load balancers see both directions in use. */
  #keepAsking(): void {
    if (this.#ended) return;
    this.#stopAsking = this.#deps.clock.after(ASK_AGAIN_MS, () => {
      if (this.#answersAsks) this.#send({ $case: 'ask', value: {} });
      this.#keepAsking();
    });
  }

  #supersede(): void {
    this.#fail(new OperationalError('DATAPLANE_FOREIGN', 'Cannot attach: a newer incarnation has this name'));
  }

  #send(message: NonNullable<AttachResponse['message']>): void {
    if (!this.#ended) this.#stream.write({ message });
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    if (!(error instanceof OperationalError)) this.#deps.events.failedUnexpectedly(error);
    this.#onEnd(error instanceof OperationalError ? error.message : 'an error of the companion');
    this.#stream.emit('error', { code: status.INTERNAL, ...asServiceError(error) });
  }

  #onEnd(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#disarm();
    this.#stopAsking();
    this.#releasePlace?.();
    void this.#admission?.then((agent) => (agent === undefined ? undefined : this.#leave(agent, reason)));
  }

  async #leave(agent: AttachedAgent, reason: string): Promise<void> {
    const cause = (await this.#connection?.lossCause()) ?? 'closed';
    await this.#deps.agents.close(agent, { reason, cause }).catch(this.#deps.events.failedUnexpectedly);
  }
}

/** A stop report is for people. Its content is not trusted. */
function readReport(report: string): unknown {
  if (report.length > MAX_REPORT) return 'left out: too long';
  try {
    return JSON.parse(report);
  } catch {
    return 'left out: not JSON';
  }
}
