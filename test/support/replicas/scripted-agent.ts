import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { status, type ServiceError } from '@grpc/grpc-js';

import {
  DeregisterResponse_Outcome as Outcome,
  Owner,
  type Attached,
  type DeregisterResponse,
  type Hello,
  type Incarnation,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import type { ControlPlane } from '../kuma/control-plane.ts';
import type { Fields } from '../kuma/store.ts';
import { waitUntil } from '../world/wait-until.ts';
import { AgentLink } from './agent-link.ts';
import type { HistoryEvent } from './history.ts';
import { ScriptedEnvoy } from './scripted-envoy.ts';
import { RUN_TAG, type WatchedStore } from './watched-store.ts';

export interface ScriptedAgentOptions {
  readonly name: string;
  /** Of the replicas, in the order in which they are tried. */
  readonly addresses: readonly string[];
  readonly controlPlane: ControlPlane;
  readonly store: WatchedStore;
  readonly note: (event: HistoryEvent) => void;
  /** Who owns the object; the agent if left out. */
  readonly owner?: 'agent' | 'cp' | undefined;
}

/** One answer of `Attach`; without `epoch`, it is not fenced. */
export interface Epoch {
  readonly epoch: number | undefined;
  readonly leaving: boolean;
  readonly replica: string;
  readonly atMs: number;
}

export type FencedEpoch = Epoch & { readonly epoch: number };

const PAUSE_MS = 50;
const SERVICE = 'web';

/**
 * An agent over raw gRPC: as one incarnation it is attached to one replica at a time, and goes to the next one when
 * that fails.
 */
export class ScriptedAgent implements AsyncDisposable {
  readonly name: string;
  readonly incarnation = randomUUID();
  /** Every answer, in order. */
  readonly epochs: Epoch[] = [];
  /** How each stream ended. */
  readonly ends: string[] = [];
  readonly #options: ScriptedAgentOptions;
  #owner: 'agent' | 'cp';
  #envoy: ScriptedEnvoy;
  #at = 0;
  #link: AgentLink | undefined;
  #running: Promise<void> | undefined;
  #isOver = false;
  #isCut = false;
  #isConnected = false;
  #phase = { phase: 'starting', serving: false };

  constructor(options: ScriptedAgentOptions) {
    this.#options = options;
    this.#owner = options.owner ?? 'agent';
    this.name = options.name;
    this.#envoy = this.#envoyOf(this.#owner);
  }

  /** Begins to attach and stays attached, as long as it lives and no newer run has the name. */
  start(): void {
    this.#running ??= this.#stayAttached();
  }

  /** Where its stream is open, or is being opened. */
  get replica(): string | undefined {
    return this.#link?.address;
  }

  /** @returns the first fenced answer after the first `from` */
  async waitForEpoch(from = 0, budgetMs = 60_000): Promise<FencedEpoch> {
    const what = `${this.name} ${this.incarnation} to be attached`;
    return waitUntil(() => this.epochs.slice(from).find(isFenced), { what, budgetMs });
  }

  /** Attached, its object put and ready, its Envoy connected: a start that went well. */
  async run(): Promise<FencedEpoch> {
    this.start();
    const epoch = await this.waitForEpoch();
    await this.serve();
    return epoch;
  }

  /** Its object is put and ready, its Envoy connected. */
  async serve(): Promise<void> {
    if (this.#owner === 'agent') {
      await this.register(false);
      await this.#connect();
      await this.register(true);
    } else await this.#connect();
    this.say('running', true);
  }

  /** Starts without an epoch, as an agent that has waited long enough: its control plane puts the object. */
  async serveUnfenced(): Promise<void> {
    this.#note({ kind: 'started-unfenced' });
    this.#owner = 'cp';
    this.#envoy = this.#envoyOf('cp');
    // It tells the companion by attaching anew.
    this.#link?.close();
    await this.serve();
  }

  /** Its Envoy has lost its stream because the control plane restarted. */
  async reconnect(): Promise<void> {
    if (!this.#isOver && !this.#isCut && this.#isConnected) await this.#connect();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isSuperseded(): boolean {
    return this.ends.at(-1) === 'superseded';
  }

  say(phase: string, serving: boolean): void {
    this.#phase = { phase, serving };
    this.#link?.say(phase, serving);
  }

  /**
   * Registers at any replica, until one has done it. @throws ServiceError if it must not be repeated, or after a
   * while
   */
  async register(ready: boolean): Promise<void> {
    const resource = Buffer.from(JSON.stringify(this.#resource));
    const request = { incarnation: this.#identity, resource, ready, rotation: undefined, wish: undefined };
    await this.#persist((link) => link.register(request));
  }

  /** Asks once to leave, at the replica where it is attached. @throws ServiceError */
  async deregister(budgetMs?: number): Promise<DeregisterResponse> {
    this.#requestDeparture();
    const link = this.#link ?? new AgentLink(this.#options.addresses[0] ?? '');
    return this.#answered(await link.deregister({ incarnation: this.#identity }, budgetMs));
  }

  /** Asks any replica to leave, until one has recorded it durably. @throws ServiceError after a while */
  async leave(): Promise<DeregisterResponse> {
    this.#requestDeparture();
    return this.#persist(async (link) => {
      const answer = this.#answered(await link.deregister({ incarnation: this.#identity }));
      if (answer.outcome === Outcome.ACCEPTED && !answer.durable) throw new Error('It is not remembered yet');
      return answer;
    });
  }

  /** Agent and Envoy end without a message. */
  async crash(): Promise<void> {
    this.#note({ kind: 'crashed' });
    await this[Symbol.asyncDispose]();
    this.#envoy.disconnect();
  }

  /** The process ends, after a stop. */
  async end(): Promise<void> {
    await this[Symbol.asyncDispose]();
    this.#envoy.disconnect();
  }

  /** Cuts off its host; all others have noticed. */
  cut(): void {
    this.#note({ kind: 'cut' });
    this.#isCut = true;
    this.#link?.close();
    this.#envoy.disconnect();
  }

  /** Its host reaches all others again. */
  rejoin(): void {
    this.#note({ kind: 'rejoined' });
    this.#isCut = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#link?.close();
    await this.#running;
  }

  get #identity(): Incarnation {
    return { dataplane: { mesh: 'default', name: this.name }, id: this.incarnation, address: '127.0.0.1' };
  }

  get #resource(): Fields {
    return { type: 'Dataplane', mesh: 'default', name: this.name, ...this.#spec };
  }

  get #spec(): Fields {
    const tags = { 'kuma.io/service': SERVICE, [RUN_TAG]: this.incarnation };
    const inbound = [{ port: 20_000, servicePort: 8_080, tags }];
    return { networking: { address: '127.0.0.1', inbound } };
  }

  get #hello(): Hello {
    return {
      incarnation: this.#identity,
      owner: this.#owner === 'cp' ? Owner.CONTROL_PLANE : Owner.AGENT,
      deletable: true,
      resource: Buffer.from(JSON.stringify(this.#resource)),
      phase: this.#phase.phase,
      epoch: 0,
      answersAsks: false,
      looks: false,
      waits: false,
      takesNews: false,
      agentVersion: 'test',
    };
  }

  #envoyOf(owner: 'agent' | 'cp'): ScriptedEnvoy {
    const { controlPlane, store } = this.#options;
    const key = { type: 'Dataplane', mesh: 'default', name: this.#options.name } as const;
    return new ScriptedEnvoy({ controlPlane, store, key, brings: owner === 'cp' ? this.#spec : undefined });
  }

  /** Envoy tries until there is a control plane that knows its dataplane. */
  async #connect(): Promise<void> {
    const what = `the Envoy of ${this.name} to connect`;
    await waitUntil(() => this.#isOver || this.#isCut || this.#envoy.connect(), {
      what,
      budgetMs: 60_000,
      pollMs: 50,
    });
    this.#isConnected = true;
  }

  async #stayAttached(): Promise<void> {
    const { addresses } = this.#options;
    for (let end = ''; !this.#isOver && end !== 'superseded';) {
      if (!this.#isCut) {
        const link = new AgentLink(addresses[this.#at % addresses.length] ?? '');
        this.#at += 1;
        this.#link = link;
        end = await this.#attach(link);
        this.#link = undefined;
        link.close();
        this.ends.push(end);
      }
      await delay(PAUSE_MS);
    }
    if (!this.#isOver) this.#note({ kind: 'superseded' });
  }

  #attach(link: AgentLink): Promise<string> {
    const askedAtMs = performance.now();
    return link.attach(this.#hello, (attached) => {
      this.#onAttached(attached, link.address, askedAtMs);
      if (this.#phase.phase !== 'starting') link.say(this.#phase.phase, this.#phase.serving);
    });
  }

  #onAttached({ epoch, fenced, leaving }: Attached, replica: string, askedAtMs: number): void {
    const given = { epoch: fenced ? epoch : undefined, leaving, replica };
    this.epochs.push({ ...given, atMs: performance.now() });
    this.#note({ kind: 'attached', askedAtMs, ...given });
  }

  #requestDeparture(): void {
    this.#note({ kind: 'requested' });
    // The emulation leaves out `Confirm`, which undoes an object that a restarted control plane puts once more.
    this.#isConnected = false;
    this.say('deregistering', false);
  }

  #answered(answer: DeregisterResponse): DeregisterResponse {
    this.#note({ kind: 'answered', outcome: OUTCOMES[answer.outcome] ?? '', durable: answer.durable });
    return answer;
  }

  /** Asks first where it is attached, then at each of the others. */
  async #persist<T>(ask: (link: AgentLink) => Promise<T>): Promise<T> {
    const { addresses } = this.#options;
    let at = 0;
    return waitUntil(
      async () => {
        const address = at === 0 ? (this.replica ?? addresses[0]) : addresses[at % addresses.length];
        at += 1;
        const link = new AgentLink(address ?? '');
        try {
          return { value: await ask(link) };
        } catch (error) {
          if (mustNotRepeat(error as ServiceError) || this.#isOver) return { error };
          throw error;
        } finally {
          link.close();
        }
      },
      { what: `${this.name} ${this.incarnation} to be heard`, budgetMs: 60_000, pollMs: PAUSE_MS },
    ).then((said) => {
      if ('value' in said) return said.value;
      throw said.error;
    });
  }

  #note(event: DistributiveOmit<HistoryEvent, 'name' | 'incarnation' | 'atMs'>): void {
    const { name, incarnation } = this;
    this.#options.note({ ...event, name, incarnation, atMs: performance.now() });
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

const OUTCOMES: Readonly<Record<number, string>> = {
  [Outcome.DELETED]: 'deleted',
  [Outcome.ALREADY_GONE]: 'already gone',
  [Outcome.ACCEPTED]: 'accepted',
  [Outcome.REFUSED]: 'refused',
};

/** A replica that has just lost its stream refuses an agent until it is attached again. */
function mustNotRepeat({ code, details }: ServiceError): boolean {
  return code === status.FAILED_PRECONDITION && !details.endsWith('this incarnation is not attached');
}

function isFenced(answer: Epoch): answer is FencedEpoch {
  return answer.epoch !== undefined;
}
