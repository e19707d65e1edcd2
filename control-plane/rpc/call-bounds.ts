import { Bounds, RateBounds, type Caller, type Grant, type Most, type Scope } from '../../kernel/bounds.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OperationalError } from '../../kernel/errors.ts';
import { Pace } from '../../kernel/pace.ts';
import { Turns } from '../../kernel/turns.ts';
import type { Resource } from '../resources.pure.ts';

export interface CallBoundsDeps {
  readonly clock: Clock;
  /** Called when a caller was refused; possibly by the thousand. */
  readonly onRefused: (resource: Resource, scope: Scope) => void;
}

type CallRelease = () => void;

/**
 * An agent has one stream, a second one until the first is found dead, and one call at a time. A fleet of ten thousand
 * may share one address, and may stop in one moment.
 */
const MOST = {
  streams: { subject: 4, address: 15_000, all: 20_000 },
  calls: { subject: 16, address: 15_000, all: 20_000 },
  requests: { subject: 240, address: 120_000, all: 240_000 },
  'unread-calls': { subject: 4, address: 4, all: 32 },
} as const satisfies Partial<Record<Resource, Most>>;
/** How many calls of one subject act at once; the others wait in memory. */
const TURNS = 4;
const MINUTE_MS = 60_000;
/** The pace of refusals for an address that is refused repeatedly; it cannot ask meanwhile. */
const REFUSALS = { everyMs: 20, longestMs: 5_000 } as const;

/** Bounds for agents' calls: of one token for one dataplane, from one address, and in all. */
export class CallBounds {
  readonly #onRefused: CallBoundsDeps['onRefused'];
  readonly #streams = new Bounds(MOST.streams);
  readonly #calls = new Bounds(MOST.calls);
  readonly #unread = new Bounds(MOST['unread-calls']);
  readonly #requests: RateBounds;
  readonly #refusals: Pace;
  readonly #turns = new Turns(TURNS);

  constructor({ clock, onRefused }: CallBoundsDeps) {
    this.#onRefused = onRefused;
    this.#requests = new RateBounds(clock, MINUTE_MS, MOST.requests);
    this.#refusals = new Pace(clock, REFUSALS);
  }

  /** The current use. */
  get held(): ReadonlyMap<Resource, number> {
    return new Map<Resource, number>([
      ['streams', this.#streams.held],
      ['calls', this.#calls.held],
      ['unread-calls', this.#unread.held],
    ]);
  }

  /** @throws `LIMIT_EXCEEDED` */
  openStream(caller: Caller): CallRelease {
    this.#begin(caller);
    return this.#granted('streams', this.#streams.take(caller));
  }

  /**
   * Waits for this call's turn.
   *
   * @throws `LIMIT_EXCEEDED`
   */
  async beginCall(caller: Caller): Promise<CallRelease> {
    this.#begin(caller);
    const release = this.#granted('calls', this.#calls.take(caller));
    const endTurn = await this.#turns.begin(caller.subject ?? caller.address);
    return () => {
      endTurn();
      release();
    };
  }

  /**
   * Takes a place for a call whose token names no mesh.
   *
   * @throws `LIMIT_EXCEEDED`
   */
  readUnchecked(address: string): CallRelease {
    return this.#granted('unread-calls', this.#unread.take({ subject: undefined, address }));
  }

  /** Await it before sending a refusal. */
  beforeRefusal(address: string): Promise<void> {
    return this.#refusals.turn(address);
  }

  #begin(caller: Caller): void {
    const refused = this.#requests.use(caller);
    if (refused !== undefined) throw this.#refused('requests', refused);
  }

  #granted(resource: Resource, grant: Grant): CallRelease {
    if ('refused' in grant) throw this.#refused(resource, grant.refused);
    return grant.release;
  }

  #refused(resource: Resource, scope: Scope): OperationalError {
    this.#onRefused(resource, scope);
    return new OperationalError(
      'LIMIT_EXCEEDED',
      `Cannot serve the call: over the limit of ${resource} ${SCOPES[scope]}`,
      { details: { resource, scope } },
    );
  }
}

const SCOPES: Readonly<Record<Scope, string>> = {
  subject: 'of one token for one dataplane',
  address: 'from one address',
  all: 'in all',
};
