import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Server as TlsServer, TLSSocket } from 'node:tls';

import type { Clock } from '../../kernel/clock.ts';
import type { PeerConnection } from '../attached-agent.ts';
import { keepAlive } from '../../program/keepalive.ts';
import type { DarkWatch } from '../../program/dark-watch.ts';
import { causeOfLoss } from '../witness/loss.pure.ts';
import type { AdmittedConnection, ConnectionLimit, ConnectionLimits } from './connection-limits.io.ts';
import { Handshakes } from './handshakes.io.ts';

export interface ConnectionEvents {
  /** Called when a connection was refused, or cut without an authenticated call; possibly by the thousand. */
  connectionRefused(limit: ConnectionLimit, address: string): void;
  /** Called when a TLS handshake failed: the client does not trust us, brings no certificate, or speaks no TLS. */
  handshakeFailed(address: string, err: unknown): void;
}

interface ConnectionsOptions {
  readonly clock: Clock;
  readonly limits: ConnectionLimits;
  readonly events: ConnectionEvents;
  readonly darkWatch: DarkWatch;
  /** A Unix socket: the permission to connect is the authentication. */
  readonly trusted: boolean;
  /** `undefined`: plain text. */
  readonly tls: TlsServer | undefined;
  /** Takes a socket that HTTP/2 can be spoken on. */
  readonly ready: (socket: Socket) => void;
}

/** The time for the answer to a call on a connection that is cut afterwards. */
const ANSWER_MS = 1_000;

interface Connection {
  readonly peer: string;
  /** The accepted socket, below TLS. */
  readonly socket: Socket;
  readonly admitted: AdmittedConnection | undefined;
  /** Whether it carried an authenticated call, or needs none. */
  known: boolean;
  /** Which limit it is over. */
  over?: ConnectionLimit | undefined;
  /** The connection is over a limit, and is cut once its call is answered. */
  isParting?: true;
  /** Whether the other end sent a FIN. */
  isHungUp: boolean;
  /** The error code with which its kernel ended it. */
  errorCode: string | undefined;
  isCutAsDark: boolean;
}

/** A stream whose connection is open after this time has ended alone. */
const ALONE_MS = 250;

/** Enough to keep one core busy while clients answer. */
const HANDSHAKES_TOGETHER = 32;

/** The connections of one listener, by peer. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #all = new Set<Connection>();
  readonly #byPeer = new Map<string, Connection>();
  readonly #handshakes: Handshakes;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#handshakes = new Handshakes({ clock: options.clock, together: HANDSHAKES_TOGETHER });
    options.tls?.on('secureConnection', (socket: TLSSocket) => {
      const connection = this.#byPeer.get(peerOf(socket));
      // TLS reads from here on, so the end of the connection shows only here.
      if (connection !== undefined) {
        noteEnd(connection, socket);
        this.#handshakes.ended(connection.socket);
      }
      this.#establish(connection, socket);
    });
    options.tls?.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#noteFailure(error, socket);
      socket.destroy();
    });
  }

  accept(socket: Socket): void {
    // HTTP/2 and TLS handle errors only while they run; this handles those before and after.
    socket.on('error', () => undefined);
    const connection = this.#admit(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    noteEnd(connection, socket);
    if (!this.#options.trusted) this.#missWhenDark(connection);
    this.#all.add(connection);
    this.#byPeer.set(connection.peer, connection);
    socket.once('close', () => {
      this.#forget(connection);
    });
    const { tls } = this.#options;
    if (tls === undefined) this.#establish(connection, socket);
    else
      this.#handshakes.enter(socket, {
        onWaiting: () => connection.admitted?.waits(),
        begin: () => {
          connection.admitted?.begins();
          tls.emit('connection', socket);
        },
      });
  }

  /**
   * A connection over a limit is cut once the call has been answered.
   *
   * @param peer as grpc-js names it: `address:port`, without brackets
   * @returns which limit it is over
   */
  authenticated(peer: string, subject: string): ConnectionLimit | undefined {
    const connection = this.#byPeer.get(peer);
    if (connection === undefined || connection.known) return undefined;
    connection.over ??= connection.admitted?.authenticated(subject);
    connection.known = connection.over === undefined;
    if (connection.over !== undefined) this.#cutSoon(connection, connection.over);
    return connection.over;
  }

  /** @param peer as grpc-js names it; a Unix socket has no name, and cannot fall silent */
  find(peer: string): PeerConnection | undefined {
    const connection = peer === '' ? undefined : this.#byPeer.get(peer);
    return connection === undefined ? undefined : asPeerConnection(connection);
  }

  /** Ends connections without an authenticated call: no caller waits for an answer on them. */
  cutStrangers(): void {
    for (const { socket, known } of this.#all) if (!known) socket.destroy();
  }

  cutAll(): void {
    for (const { socket } of this.#all) socket.destroy();
  }

  /** The kernel probes an idle peer; outstanding data shows one that no longer acknowledges. */
  #missWhenDark(connection: Connection): void {
    const { socket } = connection;
    keepAlive(socket);
    this.#options.darkWatch.watch(socket, () => {
      connection.isCutAsDark = true;
      socket.destroy();
    });
  }

  #admit(socket: Socket): Connection | undefined {
    const { limits, events, trusted } = this.#options;
    const unended = { isHungUp: false, errorCode: undefined, isCutAsDark: false };
    if (trusted) return { peer: peerOf(socket), socket, admitted: undefined, known: true, ...unended };
    const { remoteAddress } = socket;
    // The peer left before the connection was accepted.
    if (remoteAddress === undefined) return undefined;
    const admitted = limits.admit(remoteAddress, (limit) => {
      events.connectionRefused(limit, remoteAddress);
      socket.destroy();
    });
    if ('refused' in admitted) {
      events.connectionRefused(admitted.refused, remoteAddress);
      return undefined;
    }
    return { peer: peerOf(socket), socket, admitted, known: false, ...unended };
  }

  #cutSoon(connection: Connection, limit: ConnectionLimit): void {
    const { clock, events } = this.#options;
    const { socket } = connection;
    if (connection.isParting) return;
    connection.isParting = true;
    events.connectionRefused(limit, socket.remoteAddress ?? '');
    const disarm = clock.after(ANSWER_MS, () => {
      socket.destroy();
    });
    socket.once('close', disarm);
  }

  #establish(connection: Connection | undefined, socket: Socket): void {
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    this.#options.ready(socket);
  }

  #noteFailure(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // A client that hangs up in the middle is a port scan, or was cut by a limit that has been counted.
    const refused: unknown = socket.authorizationError;
    if (error.code === 'ECONNRESET' && refused === null) return;
    this.#options.events.handshakeFailed(socket.remoteAddress ?? '', refused ?? error);
  }

  #forget(connection: Connection): void {
    this.#all.delete(connection);
    if (this.#byPeer.get(connection.peer) === connection) this.#byPeer.delete(connection.peer);
    connection.admitted?.closed();
  }
}

function noteEnd(connection: Connection, socket: Socket): void {
  socket.once('end', () => {
    connection.isHungUp = true;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    connection.errorCode ??= error.code ?? error.message;
  });
}

/** HTTP/2 ends its streams before their connection; a stream that ends alone leaves it open. */
async function endOfSocket({ socket, isHungUp, errorCode }: Connection): Promise<void> {
  if (socket.destroyed || isHungUp || errorCode !== undefined) return;
  const over = new AbortController();
  const closed = new Promise<void>((resolve) => {
    socket.once('close', resolve);
  });
  const stillOpen = setTimeout(ALONE_MS, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([closed, stillOpen]);
  over.abort();
}

function asPeerConnection(connection: Connection): PeerConnection {
  const { socket, admitted } = connection;
  return {
    waits: () => admitted?.waits(),
    begins: () => admitted?.begins(),
    address: socket.remoteAddress ?? '',
    get heardBytes() {
      return socket.bytesRead;
    },
    lossCause: async () => {
      await endOfSocket(connection);
      const { isHungUp, errorCode, isCutAsDark } = connection;
      return causeOfLoss({ isOpen: !socket.destroyed, isHungUp, errorCode, isCutAsDark });
    },
  };
}

/** As grpc-js names the peer of a call. A peer of a Unix socket has no name. */
function peerOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return remoteAddress === '' ? '' : `${remoteAddress}:${remotePort}`;
}
