import { isAborted, whenAborted } from '../../kernel/aborted.ts';
import { pause, within, type Clock } from '../../kernel/clock.ts';
import { withDeadline } from '../../kernel/deadline.ts';
import { hasCode, OperationalError } from '../../kernel/errors.ts';
import type { ControlPlaneFacts } from '../../kuma/control-plane.ts';
import { attachPauseMs, countFailures, type AttachEnd } from './attach-pace.pure.ts';
import type { Owner } from '../identity/owner.pure.ts';
import type { AgentEvents } from '../events.ts';
import type {
  AgentStatus,
  Attached,
  AttachStream,
  Companion,
  Hello,
  LastWords,
  StreamEnd,
} from '../ports.ts';

export interface AttachmentDeps {
  readonly clock: Clock;
  readonly events: AgentEvents;
  readonly random: () => number;
  /** Never empty. Any of them will do: they share one store. */
  readonly companions: readonly Companion[];
  readonly hello: Omit<Hello, 'owner' | 'status' | 'epoch'>;
  /** Called with the companion's facts about its control plane. */
  readonly learn: (facts: ControlPlaneFacts) => void;
  /** Told when a companion has attached this run, and when its stream has ended. */
  readonly onStanding?: (isAttached: boolean) => void;
}

/** How long a companion may take when no start waits for it. */
const PATIENCE_MS = 5_000;
/**
 * The same where there is no other companion to ask. While thousands of agents connect, a TLS handshake waits for its turn
 * longer than 5 s, and an agent that gives up then has to queue again. The kernel notices a silent host earlier.
 */
const LONE_PATIENCE_MS = 20_000;
/** While a start waits, and another companion may be quicker. */
const IMPATIENCE_MS = 350;
/** Load balancers that read HTTP/2 end a stream without messages after 60 s, and do not pass pings on. */
const SAY_AGAIN_MS = 40_000;
/** The end of a stream of this length is logged only if it cannot be opened again. */
const STOOD_MS = 5_000;
/** How long the agent waits at its end for its last message to arrive. */
const FINISH_BUDGET_MS = 100;

/**
 * The stream by which a companion sees that this dataplane lives. It goes to one companion at a time, and to the next
 * one when that one fails or asks for it, always as the same incarnation, until the agent ends.
 */
export class CompanionAttachment {
  readonly #deps: AttachmentDeps;
  readonly #over = new AbortController();
  readonly #fenced = Promise.withResolvers<number>();
  /** Every companion was asked once, and none has attached this run. */
  readonly #refused = Promise.withResolvers<undefined>();
  #owner: Owner = 'cp';
  #status: AgentStatus = { phase: 'starting', serving: false };
  #served = false;
  #out = false;
  #epoch: number | undefined;
  #hurried = true;
  /** Aborts the current stream, or its opening. */
  #attempt = new AbortController();
  #stream: AttachStream | undefined;
  /** When the companion last heard from this agent on the open stream, monotonic. */
  #saidAtMs = 0;
  /** The owner that the companion knows, and whether it can be told of another one. */
  #toldOwner: Owner = 'cp';
  #takesOwner = false;
  /** Whether that stream, or the one before the next attempt, was established. */
  #attached = false;
  #lossSaid = false;
  /** The end of an established stream, logged only if the same companion does not attach the agent again. */
  #unsaidLoss: { readonly url: string; readonly error: unknown } | undefined;

  constructor(deps: AttachmentDeps) {
    this.#deps = deps;
  }

  /**
   * Begins to attach, and continues after the budget.
   *
   * @param owner the future owner of the object, as far as it is known
   * @returns the epoch; `undefined` if there was none within the budget, if every companion refused, or if `cancel`
   *   came first
   */
  async begin(owner: Owner, budgetMs: number, cancel: AbortSignal): Promise<number | undefined> {
    this.#owner = owner;
    void this.#stayAttached();
    const cancelled = Promise.withResolvers<undefined>();
    whenAborted(cancel, () => cancelled.resolve(undefined));
    const first = Promise.race([this.#fenced.promise, this.#refused.promise, cancelled.promise]);
    return within(this.#deps.clock, budgetMs, first).finally(() => {
      this.#hurried = false;
    });
  }

  /**
   * The final owner of the object. If the companion knows another one, the agent tells it on the same stream, once it
   * has answered. An agent that gave up its place in the queue would only make a busy companion busier.
   */
  confirmOwner(owner: Owner): void {
    if (owner === this.#owner) return;
    this.#owner = owner;
    this.#tellOwner();
  }

  /** If the companion cannot be told, the agent attaches anew. */
  #tellOwner(): void {
    const stream = this.#stream;
    if (stream === undefined || this.#toldOwner === this.#owner) return;
    this.#toldOwner = this.#owner;
    if (this.#takesOwner) {
      this.#tell(stream, this.#owner);
      return;
    }
    this.#attempt.abort(new OperationalError('CANCELLED', 'Cancelled attaching: the owner has changed'));
    stream.close();
  }

  /** Envoy serves from now on. */
  onServing(): void {
    this.#served = true;
    this.onPhase(this.#status.phase);
  }

  /** Out of rotation: the companion must not put back a missing object, because it would be ready. */
  onRotation(out: boolean): void {
    this.#out = out;
    this.onPhase(this.#status.phase);
  }

  get standing(): { readonly attached: boolean; readonly epoch: number | undefined } {
    return { attached: this.#stream !== undefined, epoch: this.#epoch };
  }

  onPhase(phase: AgentStatus['phase']): void {
    const status = { phase, serving: this.#served && !this.#out && phase === 'running' };
    if (status.phase === this.#status.phase && status.serving === this.#status.serving) return;
    this.#status = status;
    if (this.#stream !== undefined) this.#tell(this.#stream);
  }

  /** The agent ends: reports how its stop went, if a companion is connected. Never throws. */
  async finish(words: LastWords): Promise<void> {
    this.#end();
    if (this.#stream === undefined) return;
    await within(this.#deps.clock, FINISH_BUDGET_MS, this.#stream.finish(words));
  }

  close(): void {
    this.#end();
    this.#attempt.abort(this.#over.signal.reason);
    this.#stream?.close();
  }

  #end(): void {
    this.#over.abort(new OperationalError('CANCELLED', 'Cancelled attaching: the agent ends'));
  }

  async #stayAttached(): Promise<void> {
    const { clock, random, companions } = this.#deps;
    const over = this.#over.signal;
    for (let at = 0, failures = 0; !isAborted(over);) {
      const companion = companions[at % companions.length];
      if (companion === undefined) return;
      const beganAtMs = clock.monotonicMs();
      const ended = await this.#attachTo(companion);
      if (isAborted(over)) return;
      if (this.#attempt.signal.aborted) continue;
      const lastedMs = clock.monotonicMs() - beganAtMs;
      const end = this.#judge(companion, ended, this.#attached && lastedMs >= STOOD_MS);
      const pauseMs = attachPauseMs(end, failures, random());
      failures = countFailures(failures, lastedMs);
      at += 1;
      if (at >= companions.length) this.#refused.resolve(undefined);
      await pause(clock, pauseMs, over);
    }
  }

  /** Settles when the stream has ended, or could not be opened. Never throws. */
  async #attachTo(companion: Companion): Promise<StreamEnd> {
    const { clock } = this.#deps;
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#attached = false;
    const status = this.#status;
    this.#toldOwner = this.#owner;
    try {
      const stream = await withDeadline(
        {
          clock,
          action: `attach to ${companion.url}`,
          budgetMs: this.#patienceMs(),
          cancel: attempt.signal,
        },
        ({ signal, extend }) =>
          companion.attach(
            { ...this.#deps.hello, owner: this.#owner, status, epoch: this.#epoch },
            {
              attached: (said) => {
                this.#onAttached(companion, said);
              },
              news: this.#deps.learn,
              answered: () => {
                this.#saidAtMs = this.#deps.clock.monotonicMs();
              },
            },
            // A start asks the next companion instead.
            {
              signal,
              extend: (ms) => {
                if (!this.#isImpatient) extend(ms);
              },
            },
          ),
      );
      this.#stream = stream;
      this.#attached = true;
      this.#deps.onStanding?.(true);
      void this.#keepTalking(stream);
      if (this.#status !== status || status.serving) this.#tell(stream);
      this.#tellOwner();
      return await stream.ended;
    } catch (error) {
      return { kind: 'lost', error };
    } finally {
      this.#stream = undefined;
      this.#deps.onStanding?.(false);
    }
  }

  #tell(stream: AttachStream, owner?: Owner): void {
    this.#saidAtMs = this.#deps.clock.monotonicMs();
    stream.tell(this.#status, owner);
  }

  async #keepTalking(stream: AttachStream): Promise<void> {
    const over = new AbortController();
    void stream.ended.then(() => {
      over.abort(new Error('The stream has ended'));
    });
    const { clock } = this.#deps;
    this.#saidAtMs = clock.monotonicMs();
    while (!isAborted(over.signal)) {
      const silentMs = clock.monotonicMs() - this.#saidAtMs;
      if (silentMs >= SAY_AGAIN_MS) this.#tell(stream);
      else await pause(clock, SAY_AGAIN_MS - silentMs, over.signal);
    }
  }

  #onAttached(companion: Companion, { epoch, held, facts, takesOwner }: Attached): void {
    const { events, learn } = this.#deps;
    const resumed = this.#unsaidLoss?.url === companion.url && epoch !== undefined && epoch === this.#epoch;
    if (resumed) this.#unsaidLoss = undefined;
    else this.#sayLoss();
    this.#lossSaid = false;
    this.#takesOwner = takesOwner === true;
    learn(facts);
    if (resumed) {
      events.companionResumed(companion.url, epoch);
      return;
    }
    if (epoch === undefined) {
      if (held === undefined) events.companionDegraded(companion.url);
      else events.nameHeld(companion.url, held);
      return;
    }
    this.#epoch = epoch;
    events.companionAttached(companion.url, epoch);
    this.#fenced.resolve(epoch);
  }

  #sayLoss(): void {
    const loss = this.#unsaidLoss;
    this.#unsaidLoss = undefined;
    if (loss === undefined) return;
    this.#deps.events.companionLost(loss.url, loss.error);
    this.#lossSaid = true;
  }

  #judge(companion: Companion, ended: StreamEnd, stood: boolean): AttachEnd {
    const { events } = this.#deps;
    this.#sayLoss();
    if (ended.kind === 'redirected') {
      events.companionRedirected(companion.url, ended.reason);
      return 'redirected';
    }
    const { error } = ended;
    const superseded = hasCode(error, 'DATAPLANE_FOREIGN');
    if (!this.#lossSaid && superseded) events.nameSuperseded(companion.url, error);
    if (stood && !superseded) {
      this.#unsaidLoss = { url: companion.url, error };
      return 'lost';
    }
    if (!this.#lossSaid && !superseded) events.companionLost(companion.url, error);
    this.#lossSaid = true;
    return superseded ? 'superseded' : 'lost';
  }

  get #isImpatient(): boolean {
    return this.#hurried && this.#deps.companions.length > 1;
  }

  #patienceMs(): number {
    if (this.#deps.companions.length === 1) return LONE_PATIENCE_MS;
    return this.#hurried ? IMPATIENCE_MS : PATIENCE_MS;
  }
}
