/** What a faulty REST server does with one request. All of it can be written as JSON. */
export type FaultAction =
  /** Answers this instead, without doing anything. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** Reads the request and never answers. */
  | { readonly kind: 'hang' }
  /** Answers as usual, so many milliseconds later. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Does what was asked, sends half of the answer's body and resets the connection. */
  | { readonly kind: 'half-body' }
  /** Does nothing, and answers with blanks for ever. */
  | { readonly kind: 'endless' }
  /** Resets the connection without doing anything. */
  | { readonly kind: 'reset' }
  /** Does what was asked and resets the connection: the answer is lost. */
  | { readonly kind: 'reset-after' };

export interface RestFault {
  /** Any method if left out. */
  readonly method?: string;
  /** Regular expression that the path with its query must match; any path if left out. */
  readonly path?: string;
  /** How many requests it hits; all of them if left out. */
  readonly times?: number;
  readonly action: FaultAction;
}

/** Faults waiting for a request. The oldest that matches is used. */
export class FaultQueue {
  #waiting: { readonly fault: RestFault; left: number }[] = [];

  /** @returns what takes it back */
  add(fault: RestFault): () => void {
    const waiting = { fault, left: fault.times ?? Number.POSITIVE_INFINITY };
    this.#waiting.push(waiting);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
    };
  }

  clear(): void {
    this.#waiting = [];
  }

  take(method: string, path: string): FaultAction | undefined {
    const hit = this.#waiting.find(({ fault }) => matches(fault, method, path));
    if (hit === undefined) return undefined;
    hit.left -= 1;
    if (hit.left <= 0) this.#waiting = this.#waiting.filter((other) => other !== hit);
    return hit.fault.action;
  }
}

function matches(fault: RestFault, method: string, path: string): boolean {
  if (fault.method !== undefined && fault.method !== method) return false;
  return fault.path === undefined || new RegExp(fault.path).test(path);
}
