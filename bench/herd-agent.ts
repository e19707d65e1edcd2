import { randomUUID } from 'node:crypto';
import {
  connect as connectTo,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect } from 'node:net';
import { connect as secure } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';

import { attachPauseMs, countFailures } from '../agent/companion/attach-pace.pure.ts';
import { AttachRequest, Owner, type Hello } from '../proto/gen/deregistrar/v1/deregistrar.ts';
import { dataplane } from './bench-agent.ts';

/**
 * Loopback addresses that agents connect from: a companion admits a limited number without a token from each address.
 */
const SOURCES = 250;

/** How many agents are attached now, and how often one was refused. */
export interface Herd {
  attached: number;
  failed: number;
}

/**
 * An agent without grpc-js, so that ten thousand of them leave the processor to the companion. It pauses between
 * attempts as an agent does.
 */
export class HerdAgent {
  readonly #herd: Herd;
  readonly #place: HerdPlace;
  readonly #hello: Buffer;

  constructor(herd: Herd, place: HerdPlace) {
    this.#herd = herd;
    this.#place = place;
    this.#hello = framed(attachRequest(`herd-${place.at}`));
  }

  async stayAttached(over: AbortSignal): Promise<void> {
    for (let failures = 0; !over.aborted;) {
      const beganMs = performance.now();
      await this.#attach(over).catch(() => undefined);
      const pauseMs = attachPauseMs('lost', failures, Math.random());
      failures = countFailures(failures, performance.now() - beganMs);
      await delay(pauseMs, undefined, { signal: over }).catch(() => undefined);
    }
  }

  /** Resolves when the stream has ended. */
  async #attach(over: AbortSignal): Promise<void> {
    const session = openSession(this.#place);
    const end = (): void => {
      session.destroy();
    };
    over.addEventListener('abort', end, { once: true });
    try {
      const stream = session.request(headersOf('Attach'));
      await this.#follow(stream);
    } finally {
      over.removeEventListener('abort', end);
      session.destroy();
    }
  }

  async #follow(stream: ClientHttp2Stream): Promise<void> {
    let heard = 0;
    stream.on('error', () => undefined);
    stream.on('data', () => {
      if (heard === 0) this.#herd.attached += 1;
      heard += 1;
    });
    stream.write(this.#hello);
    await new Promise((resolve) => {
      stream.once('close', resolve);
    });
    if (heard > 0) this.#herd.attached -= 1;
    else this.#herd.failed += 1;
  }
}

/** Where the companion listens, and the number of the agent. */
export interface HerdPlace {
  readonly port: number;
  readonly at: number;
  readonly tls: boolean;
}

/** A connection of its own, from one of many addresses. */
export function openSession({ port, at, tls }: HerdPlace): ClientHttp2Session {
  const host = '127.0.0.1';
  const localAddress = `127.0.${1 + Math.floor((at % SOURCES) / 200)}.${1 + (at % 200)}`;
  const socket = connect({ host, port, localAddress });
  // An agent's check of the certificate costs its own host, not the companion.
  const unchecked = { ALPNProtocols: ['h2'], rejectUnauthorized: false };
  const session = connectTo(`${tls ? 'https' : 'http'}://${host}:${port}`, {
    createConnection: () => (tls ? secure({ socket, ...unchecked }) : socket),
  });
  session.on('error', () => undefined);
  return session;
}

export function headersOf(method: 'Attach' | 'Register'): OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':path': `/deregistrar.v1.Deregistrar/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
}

export function attachRequest(name: string, given: Partial<Hello> = {}): Uint8Array {
  const hello = {
    incarnation: { dataplane: { mesh: 'default', name }, id: randomUUID(), address: '' },
    owner: Owner.CONTROL_PLANE,
    deletable: true,
    resource: Buffer.from(JSON.stringify(dataplane(name))),
    phase: 'running',
    agentVersion: 'bench',
    ...given,
  };
  return AttachRequest.encode(
    AttachRequest.fromPartial({ message: { $case: 'hello', value: hello } }),
  ).finish();
}

/** A message as gRPC sends it: uncompressed, its length, then its bytes. */
export function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
