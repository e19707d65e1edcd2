import { addressBlock } from '../../kernel/address-block.ts';
import { Bounds, type Scope, type Taken } from '../../kernel/bounds.ts';
import type { Clock } from '../../kernel/clock.ts';

export const CONNECTION_LIMITS = [
  'connections',
  'unauthenticated',
  'unauthenticated-per-address',
  'first-call',
  'authenticated-per-subject',
  'authenticated-per-address',
] as const;
/** Which limit refused or ended a connection, by its name in logs and metrics. */
export type ConnectionLimit = (typeof CONNECTION_LIMITS)[number];

export interface ConnectionLimitSettings {
  /** Open at once, of all kinds. */
  readonly connections: number;
  /** Open connections that have carried an authenticated call of one token for one dataplane. */
  readonly authenticatedPerSubject: number;
  /** The same, from one address block: this leaves room for other addresses. */
  readonly authenticatedPerAddress: number;
  /** Open connections that have carried no authenticated call, unfinished TLS handshakes included. */
  readonly unauthenticated: number;
  /** Expected agents: this many more connections may be open without an authenticated call. */
  readonly expected?: () => number;
  /** The same, from one IPv4 address or one IPv6 /64. */
  readonly unauthenticatedPerAddress: number;
  /** How long a connection may take to its first authenticated call. */
  readonly firstCallMs: number;
}

export interface AdmittedConnection {
  /**
   * Called when the connection has carried an authenticated call of `subject`: it no longer counts as a stranger's.
   *
   * @returns which limit it is over; then it stays a stranger's
   */
  authenticated(subject: string): ConnectionLimit | undefined;
  /** The connection waits for us: its time for the first call stands still. */
  waits(): void;
  /** Its time for the first call begins anew. */
  begins(): void;
  /** Call it when the connection has ended, on either side. */
  closed(): void;
}

export interface ConnectionCounts {
  readonly authenticated: number;
  readonly unauthenticated: number;
}

interface Stranger {
  readonly block: string;
  sinceMs: number;
  disarm: () => void;
  readonly cut: (limit: ConnectionLimit) => void;
}

const OVER: Readonly<Record<Scope, ConnectionLimit>> = {
  subject: 'authenticated-per-subject',
  address: 'authenticated-per-address',
  all: 'connections',
};

/** After this share of its time, a connection without a call gives way to a new one. */
const PATIENCE = 1 / 3;

/**
 * Counts connections. Those that say nothing must neither use up the process nor keep others out:
 *
 * - While a limit is reached, a new connection takes the place of the oldest stranger, if that had a third of its time.
 * - Otherwise the new one is refused. A fleet that is on its way back has places beside those of the strangers: its
 *   channels are there before its agents, which pause for up to 10 s. A fleet that returns at once is let in as fast as it is served; if each newcomer
 *   drove out the one before it, no connection would get through.
 */
export class ConnectionLimits {
  readonly #settings: ConnectionLimitSettings;
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #strangers = new Set<Stranger>();
  readonly #strangersByBlock = new Map<string, Set<Stranger>>();
  readonly #authenticated: Bounds;
  /** Includes cut connections until they have ended. */
  #open = 0;

  constructor(settings: ConnectionLimitSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
    this.#authenticated = new Bounds({
      subject: settings.authenticatedPerSubject,
      address: settings.authenticatedPerAddress,
      all: settings.connections,
    });
  }

  get counts(): ConnectionCounts {
    return { authenticated: this.#authenticated.held, unauthenticated: this.#strangers.size };
  }

  /**
   * @param address the peer's IP address
   * @param cut ends the connection; called at most once, and `closed` is still expected
   * @returns which limit refused it, if one did
   */
  admit(
    address: string,
    cut: (limit: ConnectionLimit) => void,
  ): AdmittedConnection | { readonly refused: ConnectionLimit } {
    const block = addressBlock(address);
    const refused = this.#makeRoom(block);
    if (refused !== undefined) return { refused };
    const stranger: Stranger = { block, cut, sinceMs: this.#clock.monotonicMs(), disarm: () => undefined };
    this.#open += 1;
    this.#add(stranger);
    this.#expectCall(stranger);
    let known: Taken | undefined;
    return {
      waits: () => {
        stranger.disarm();
      },
      begins: () => {
        if (!this.#remove(stranger)) return;
        stranger.sinceMs = this.#clock.monotonicMs();
        // Behind those that came before: the oldest is the first.
        this.#add(stranger);
        this.#expectCall(stranger);
      },
      authenticated: (subject) => {
        if (!this.#strangers.has(stranger)) return undefined;
        const grant = this.#authenticated.take({ subject, address: block });
        if ('refused' in grant) return OVER[grant.refused];
        known = grant;
        this.#remove(stranger);
        return undefined;
      },
      closed: () => {
        this.#remove(stranger);
        known?.release();
        this.#open -= 1;
      },
    };
  }

  #expectCall(stranger: Stranger): void {
    stranger.disarm = this.#clock.after(this.#settings.firstCallMs, () => {
      this.#end(stranger, 'first-call');
    });
  }

  #makeRoom(block: string): ConnectionLimit | undefined {
    const { connections, unauthenticated, unauthenticatedPerAddress, expected = () => 0 } = this.#settings;
    const neighbours = this.#strangersByBlock.get(block);
    if (neighbours !== undefined && neighbours.size >= unauthenticatedPerAddress)
      if (!this.#endOldest(neighbours, 'unauthenticated-per-address')) return 'unauthenticated-per-address';
    if (this.#strangers.size >= unauthenticated + expected())
      if (!this.#endOldest(this.#strangers, 'unauthenticated')) return 'unauthenticated';
    return this.#open >= connections ? 'connections' : undefined;
  }

  #endOldest(strangers: ReadonlySet<Stranger>, limit: ConnectionLimit): boolean {
    const [oldest] = strangers;
    const patienceMs = this.#settings.firstCallMs * PATIENCE;
    if (oldest === undefined || this.#clock.monotonicMs() - oldest.sinceMs < patienceMs) return false;
    this.#end(oldest, limit);
    return true;
  }

  #end(stranger: Stranger, limit: ConnectionLimit): void {
    this.#remove(stranger);
    stranger.cut(limit);
  }

  #add(stranger: Stranger): void {
    this.#strangers.add(stranger);
    const neighbours = this.#strangersByBlock.get(stranger.block);
    if (neighbours === undefined) this.#strangersByBlock.set(stranger.block, new Set([stranger]));
    else neighbours.add(stranger);
  }

  /** @returns whether it was one */
  #remove(stranger: Stranger): boolean {
    if (!this.#strangers.delete(stranger)) return false;
    stranger.disarm();
    const neighbours = this.#strangersByBlock.get(stranger.block);
    neighbours?.delete(stranger);
    if (neighbours?.size === 0) this.#strangersByBlock.delete(stranger.block);
    return true;
  }
}
