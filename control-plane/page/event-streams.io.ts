import type { ServerResponse } from 'node:http';

import type { Clock } from '../../kernel/clock.ts';

/** One state of what is followed. Each is made once, and only if a page needs it. */
export interface Publication {
  /** For who has seen nothing yet, or not all. */
  readonly whole: () => Buffer;
  /** For who has seen all before; `undefined` if there was nothing before. */
  readonly change: (() => Buffer) | undefined;
}

interface PageStream {
  readonly response: ServerResponse;
  /** It has seen everything up to the last publication, or it is on its way. */
  inStep: boolean;
  /** Cuts it unless it reads; `undefined` while nothing waits for it to read. */
  disarm: (() => void) | undefined;
}

/** Far less than the 30 s of silence after which the server cuts a connection. */
const HEARTBEAT_MS = 10_000;
/** Who takes nothing for so long is cut. */
const PATIENCE_MS = 10_000;
const MOST_STREAMS = 20;
const BEAT = Buffer.from('event: beat\ndata: 1\n\n');
const TRY_AGAIN_MS = 2_000;

/** @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function serverSentEvent(event: string, value: unknown): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
}

/**
 * Server-sent events to all who follow. For one that reads slower than it is told, nothing is queued: it gets the whole
 * again once it has read what it has. So each costs one event's memory at the most.
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
    // What comes next is not a change of this.
    this.#last = undefined;
  }

  #beatLater(): void {
    this.#disarmBeat = this.#clock.after(HEARTBEAT_MS, () => {
      for (const stream of this.#streams) if (stream.disarm === undefined) this.#write(stream, BEAT);
      this.#beatLater();
    });
  }
}
