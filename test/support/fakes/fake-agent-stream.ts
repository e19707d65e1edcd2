import { EventEmitter } from 'node:events';

import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js';

import {
  Owner,
  type AttachRequest,
  type AttachResponse,
  type Attached,
  type Hello,
  type Testimony,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';

type Message = NonNullable<AttachResponse['message']>;

/** How the companion ended a stream. */
export type FakeStreamEnd = { readonly code: number; readonly details: string } | 'closed';

/** An agent's end of an Attach stream, without a network: its messages arrive at once. */
export class FakeAgentStream {
  readonly received: Message[] = [];
  /** Called with each message, and with the end that the companion makes. */
  onMessage: (message: Message) => void = () => {};
  onEnd: (end: FakeStreamEnd) => void = () => {};
  end: FakeStreamEnd | undefined;
  /** The connection fell silent: neither side receives anything. */
  silent = false;
  /** Whether it answers an Ask by itself. */
  answersAsks = true;
  #said = { phase: 'starting', serving: false };
  readonly #wire = new EventEmitter();

  constructor(
    open: (stream: ServerDuplexStream<AttachRequest, AttachResponse>) => void,
    metadata: Metadata,
    peer = '127.0.0.1:1',
  ) {
    const serverSide = {
      metadata,
      getPeer: () => peer,
      write: ({ message }: AttachResponse) => {
        if (message !== undefined) this.#receive(message);
        return true;
      },
      end: () => {
        this.#finish('closed');
      },
    };
    const wire = Object.assign(this.#wire, serverSide);
    wire.on('error', (end: Exclude<FakeStreamEnd, 'closed'>) => {
      this.#finish({ code: end.code, details: end.details });
    });
    open(wire as unknown as ServerDuplexStream<AttachRequest, AttachResponse>);
  }

  /** The companion's answer to its last Hello. */
  get attached(): Attached | undefined {
    const answer = this.received.findLast(({ $case }) => $case === 'attached');
    return answer?.$case === 'attached' ? answer.value : undefined;
  }

  get redirected(): boolean {
    return this.received.some(({ $case }) => $case === 'redirected');
  }

  hello(hello: Hello): void {
    this.#say({ $case: 'hello', value: hello });
  }

  /** @param owner of the object, if the Hello named another one */
  phase(phase: string, serving: boolean, owner: Owner = Owner.UNSPECIFIED): void {
    this.#said = { phase, serving };
    this.#say({ $case: 'phaseChanged', value: { ...this.#said, owner } });
  }

  testify(testimony: Testimony): void {
    this.#say({ $case: 'testimony', value: testimony });
  }

  stopped(report: unknown, keep = false): void {
    this.#say({ $case: 'stopped', value: { report: JSON.stringify(report), keep } });
  }

  /** The agent ends it. */
  close(): void {
    this.#wire.emit('end');
  }

  /** The companion is told that the connection is lost. */
  lose(): void {
    this.#wire.emit('cancelled');
  }

  #say(message: NonNullable<AttachRequest['message']>): void {
    if (this.end === undefined && !this.silent) this.#wire.emit('data', { message });
  }

  #receive(message: Message): void {
    if (this.silent) return;
    this.received.push(message);
    if (message.$case === 'ask' && this.answersAsks) this.phase(this.#said.phase, this.#said.serving);
    this.onMessage(message);
  }

  #finish(end: FakeStreamEnd): void {
    if (this.end !== undefined) return;
    this.end = end;
    this.onEnd(end);
  }
}
