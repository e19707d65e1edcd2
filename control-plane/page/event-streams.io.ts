import type { ServerResponse } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';

/** One state of the followed data; built once, and only if a page needs it. */
export interface Publication {
  /** The whole state, for a new or slow client. */
  readonly whole: () => Buffer;
  /** The change, for a client with the previous state; `undefined` for the first state. */
  readonly change: (() => Buffer) | undefined;
}

interface PageStream {
  readonly response: ServerResponse;
  /** Whether it has the last publication, or is being sent it. */
  inStep: boolean;
  /** Timer that cuts a client which does not read; `undefined` while nothing is unread. */
  disarm: (() => void) | undefined;
}

/** Far less than the 30 s of silence after which the server cuts a connection. */
const HEARTBEAT_MS = 10_000;
/** How long a client may leave data unread before it is cut. */
const PATIENCE_MS = 10_000;
const MOST_STREAMS = 20;
const BEAT = Buffer.from('event: beat\ndata: 1\n\n');
const TRY_AGAIN_MS = 2_000;

/** @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function serverSentEvent(event: string, value: unknown): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
}

/**
 * Sends server-sent events to all clients. A slow client gets the whole state once it has read its last event, so each
 * costs one event's memory at most.
 */
export class EventStreams {
  readonly #clock: Clock;
  readonly #streams = new Set<PageStream>();
  #last: Publication | undefined;
  #disarmBeat: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** @returns `false` if there is no room for one more; then nothing was answered */
  open(response: ServerResponse, onClose: () => void): boolean {
    if (this.#streams.size >= MOST_STREAMS) return false;
    const stream: PageStream = { response, inStep: false, disarm: undefined };
    this.#streams.add(stream);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    response.write(`retry: ${TRY_AGAIN_MS}\n\n`);
    response.on('drain', () => {
      this.#drained(stream);
    });
    response.once('close', () => {
      this.#closed(stream);
      onClose();
    });
    if (this.#last !== undefined) this.#send(stream, this.#last);
    if (this.#disarmBeat === undefined) this.#beatLater();
    return true;
  }

  publish(publication: Publication): void {
    this.#last = publication;
    for (const stream of this.#streams) {
      if (stream.disarm === undefined) this.#send(stream, publication);
      else stream.inStep = false;
    }
  }

  #send(stream: PageStream, { whole, change }: Publication): void {
    const event = stream.inStep && change !== undefined ? change() : whole();
    stream.inStep = true;
    this.#write(stream, event);
  }

  #write(stream: PageStream, bytes: Buffer): void {
    if (stream.response.write(bytes)) return;
    stream.disarm ??= this.#clock.after(PATIENCE_MS, () => {
      stream.response.destroy();
    });
  }

  #drained(stream: PageStream): void {
    stream.disarm?.();
    stream.disarm = undefined;
    if (!stream.inStep && this.#last !== undefined) this.#send(stream, this.#last);
  }

  #closed(stream: PageStream): void {
    stream.disarm?.();
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    this.#disarmBeat?.();
    this.#disarmBeat = undefined;
    // The next state is not a change of this one.
    this.#last = undefined;
  }

  #beatLater(): void {
    this.#disarmBeat = this.#clock.after(HEARTBEAT_MS, () => {
      for (const stream of this.#streams) if (stream.disarm === undefined) this.#write(stream, BEAT);
      this.#beatLater();
    });
  }
}
