import { waitUntil } from './world/wait-until.ts';

export interface ServerSentEvent {
  readonly event: string;
  readonly data: unknown;
}

/** Reads server-sent events, as fast as they come. */
export class EventReader implements Disposable {
  readonly response: Response;
  readonly events: ServerSentEvent[] = [];
  readonly #abort: AbortController;
  ended = false;

  private constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    void this.#read().finally(() => (this.ended = true));
  }

  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch(url, { headers, signal: abort.signal });
    return new EventReader(response, abort);
  }

  /** The first event of this kind that matches. */
  async find<T = unknown>(
    event: string,
    isWanted: (data: never) => boolean = () => true,
    budgetMs = 60_000,
  ): Promise<T> {
    const found = await waitUntil(
      () => this.events.find((each) => each.event === event && isWanted(each.data as never)),
      { what: `event ${event}; there were ${this.events.map((each) => each.event).join(', ')}`, budgetMs },
    );
    return found.data as T;
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
  }

  async #read(): Promise<void> {
    let rest = '';
    const decoder = new TextDecoder();
    try {
      for await (const bytes of this.response.body ?? []) {
        const blocks = (rest + decoder.decode(bytes, { stream: true })).split('\n\n');
        rest = blocks.pop() ?? '';
        for (const block of blocks) this.#note(block);
      }
    } catch {
      // The server or the test cut the connection.
    }
  }

  #note(block: string): void {
    const { event, data } = /^event: (?<event>.*)\ndata: (?<data>.*)$/.exec(block)?.groups ?? {};
    if (event !== undefined && data !== undefined) this.events.push({ event, data: JSON.parse(data) });
  }
}
