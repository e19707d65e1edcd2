import { randomUUID } from 'node:crypto';
import { connect as connectTo, type ClientHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { attachPauseMs, countFailures } from '../agent/companion/attach-pace.pure.ts';
import { AttachRequest, Owner } from '../proto/gen/deregistrar/v1/deregistrar.ts';
import { dataplane } from './bench-agent.ts';

/** Loopback addresses that agents connect from: a companion admits only so many strangers from one. */
const SOURCES = 250;

/** How many agents are attached now, and how often one was refused. */
export interface Herd {
  attached: number;
  failed: number;
}

/** An agent without its grpc-js, so that ten thousand of them leave the processor to the companion; paced as agents are. */
export class HerdAgent {
  readonly #herd: Herd;
  readonly #port: number;
  readonly #source: string;
  readonly #hello: Buffer;

  constructor(herd: Herd, port: number, at: number) {
    this.#herd = herd;
    this.#port = port;
    this.#source = `127.0.${1 + Math.floor((at % SOURCES) / 200)}.${1 + (at % 200)}`;
    this.#hello = framed(helloOf(`herd-${at}`));
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

  /** Settles when the stream has ended. */
  async #attach(over: AbortSignal): Promise<void> {
    const host = '127.0.0.1';
    const session = connectTo(`http://${host}:${this.#port}`, {
      createConnection: () => connect({ host, port: this.#port, localAddress: this.#source }),
    });
    session.on('error', () => undefined);
    const end = (): void => {
      session.destroy();
    };
    over.addEventListener('abort', end, { once: true });
    try {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/deregistrar.v1.Deregistrar/Attach',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
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

function helloOf(name: string): Uint8Array {
  const hello = {
    incarnation: { dataplane: { mesh: 'default', name }, id: randomUUID(), address: '' },
    owner: Owner.CONTROL_PLANE,
    deletable: true,
    resource: Buffer.from(JSON.stringify(dataplane(name))),
    phase: 'running',
    agentVersion: 'bench',
  };
  return AttachRequest.encode(
    AttachRequest.fromPartial({ message: { $case: 'hello', value: hello } }),
  ).finish();
}

/** As gRPC has a message on the wire: not compressed, its length, itself. */
function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
