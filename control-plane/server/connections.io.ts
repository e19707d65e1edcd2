import type { Socket } from 'node:net';
import type { Server as TlsServer, TLSSocket } from 'node:tls';

import type { AdmittedConnection, ConnectionLimit, ConnectionLimits } from './connection-limits.io.ts';

export interface ConnectionEvents {
  /** A connection was refused, or ended because it said nothing that counts. May come by the thousand. */
  connectionRefused(limit: ConnectionLimit, address: string): void;
  /** A TLS handshake failed: a client that does not trust us, or brings no certificate, or speaks no TLS. */
  handshakeFailed(address: string, err: unknown): void;
}

interface ConnectionsOptions {
  readonly limits: ConnectionLimits;
  readonly events: ConnectionEvents;
  /** A Unix socket: being able to connect is the authentication. */
  readonly trusted: boolean;
  /** `undefined`: plain text. */
  readonly tls: TlsServer | undefined;
  /** Takes a socket that HTTP/2 can be spoken on. */
  readonly ready: (socket: Socket) => void;
}

interface Connection {
  readonly peer: string;
  /** The one that was accepted, below the TLS. */
  readonly socket: Socket;
  readonly admitted: AdmittedConnection | undefined;
  /** Whether it carried an authenticated call, or needs none. */
  known: boolean;
}

/** The connections of one listener, by peer. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #all = new Set<Connection>();
  readonly #byPeer = new Map<string, Connection>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    options.tls?.on('secureConnection', (socket: TLSSocket) => {
      this.#establish(this.#byPeer.get(peerOf(socket)), socket);
    });
    options.tls?.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#noteFailure(error, socket);
      socket.destroy();
    });
  }

  accept(socket: Socket): void {
    // HTTP/2 and TLS look after errors, but not before they begin and not after they end.
    socket.on('error', () => undefined);
    const connection = this.#admit(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    this.#all.add(connection);
    this.#byPeer.set(connection.peer, connection);
    socket.once('close', () => {
      this.#forget(connection);
    });
    const { tls } = this.#options;
    if (tls === undefined) this.#establish(connection, socket);
    else tls.emit('connection', socket);
  }

  /** @param peer as grpc-js names it: `address:port`, without brackets */
  authenticated(peer: string): void {
    const connection = this.#byPeer.get(peer);
    if (connection === undefined || connection.known) return;
    connection.known = true;
    connection.admitted?.authenticated();
  }

  /** @param peer as grpc-js names it */
  heardBytes(peer: string): number | undefined {
    return peer === '' ? undefined : this.#byPeer.get(peer)?.socket.bytesRead;
  }

  /** Ends those that have carried no authenticated call: nothing waits for them. */
  cutStrangers(): void {
    for (const { socket, known } of this.#all) if (!known) socket.destroy();
  }

  cutAll(): void {
    for (const { socket } of this.#all) socket.destroy();
  }

  #admit(socket: Socket): Connection | undefined {
    const { limits, events, trusted } = this.#options;
    if (trusted) return { peer: peerOf(socket), socket, admitted: undefined, known: true };
    const { remoteAddress } = socket;
    // Gone before it was accepted.
    if (remoteAddress === undefined) return undefined;
    const admitted = limits.admit(remoteAddress, (limit) => {
      events.connectionRefused(limit, remoteAddress);
      socket.destroy();
    });
    if ('refused' in admitted) {
      events.connectionRefused(admitted.refused, remoteAddress);
      return undefined;
    }
    return { peer: peerOf(socket), socket, admitted, known: false };
  }

  #establish(connection: Connection | undefined, socket: Socket): void {
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    this.#options.ready(socket);
  }

  #noteFailure(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // A caller that hangs up in the middle is a port scan, or was cut by a limit that has been counted.
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

/** As grpc-js names the peer of a call. A peer of a Unix socket has no name. */
function peerOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return remoteAddress === '' ? '' : `${remoteAddress}:${remotePort}`;
}
