import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers';

import type { Clock } from '../../kernel/clock.ts';

interface HandshakesOptions {
  readonly clock: Clock;
  /** How many run at once. */
  readonly together: number;
  /** Calls back when the end of a connection has been read, if it had arrived together with the first bytes. */
  readonly readOn?: (then: () => void) => void;
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
 * What waits is a socket. A client that sends nothing takes no turn, nor does one that has hung up: under load most of
 * the connections that the kernel has queued are of clients that have given up, and each would cost a signature.
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
    let heard = 0;
    const onReadable = (): void => {
      const before = heard;
      heard = socket.readableLength;
      // The stream emits this at its end as well, and what was not read keeps it from closing by itself.
      if (heard === before) socket.destroy();
      else if (before === 0) this.#wait(socket, { ...handshake, begin });
    };
    const begin = (): void => {
      socket.off('readable', onReadable);
      handshake.begin();
    };
    socket.on('readable', onReadable);
  }

  /** The handshake has succeeded or failed. */
  ended(socket: Socket): void {
    const disarm = this.#underWay.get(socket);
    if (disarm === undefined) return;
    this.#underWay.delete(socket);
    disarm();
    this.#beginNext();
  }

  #wait(socket: Socket, handshake: Handshake): void {
    const { readOn = readOnce } = this.#options;
    handshake.onWaiting();
    readOn(() => {
      if (socket.destroyed) return;
      this.#waiting.set(socket, handshake);
      this.#beginNext();
    });
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

/** One turn of the event loop reads the first bytes, and the next one the end. */
function readOnce(then: () => void): void {
  setImmediate(() => {
    setImmediate(then);
  });
}
