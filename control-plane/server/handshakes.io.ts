import type { Socket } from 'node:net';

import type { Clock } from '../../kernel/clock.ts';

interface HandshakesOptions {
  readonly clock: Clock;
  /** How many run at once. */
  readonly together: number;
}

export interface Handshake {
  /** Called when the client has sent its first bytes, and has to wait for its turn. */
  readonly onWaiting: () => void;
  /** Begins the handshake. */
  readonly begin: () => void;
}

/** After this time a handshake waits for its client, which costs nothing, and the next one may begin. */
const TURN_MS = 250;

/**
 * Lets a fixed number of TLS handshakes run at once, in the order in which their clients sent the first bytes. If a
 * thousand ran at once, each would take as long as all of them, and most clients would give up shortly before the end.
 * What waits is a socket; a client that sends nothing takes no turn.
 */
export class Handshakes {
  readonly #options: HandshakesOptions;
  /** In the order of their first bytes. */
  readonly #waiting = new Map<Socket, Handshake>();
  /** With what ends the timer of the turn. */
  readonly #underWay = new Map<Socket, () => void>();

  constructor(options: HandshakesOptions) {
    this.#options = options;
  }

  /** @param socket nothing has been read from it */
  enter(socket: Socket, handshake: Handshake): void {
    socket.once('close', () => {
      this.#waiting.delete(socket);
      this.ended(socket);
    });
    socket.once('readable', () => {
      // Also emitted at the end of a connection that said nothing.
      if (socket.destroyed || socket.readableLength === 0) return;
      handshake.onWaiting();
      this.#waiting.set(socket, handshake);
      this.#beginNext();
    });
  }

  /** The handshake has succeeded or failed. */
  ended(socket: Socket): void {
    const disarm = this.#underWay.get(socket);
    if (disarm === undefined) return;
    this.#underWay.delete(socket);
    disarm();
    this.#beginNext();
  }

  #beginNext(): void {
    for (const [socket, handshake] of this.#waiting) {
      if (this.#underWay.size >= this.#options.together) return;
      this.#waiting.delete(socket);
      const disarm = this.#options.clock.after(TURN_MS, () => {
        this.ended(socket);
      });
      this.#underWay.set(socket, disarm);
      handshake.begin();
    }
  }
}
