import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { once } from 'node:events';

import { TemporaryDir } from './world/temporary-dir.ts';

/** Each has a loopback address of its own: test files run side by side. */
const address = (): string => `127.53.${randomInt(1, 255)}.${randomInt(1, 255)}`;

/** A name server that accepts every question and answers none; needs root, for its port and its configuration. */
export class SilentNameServer implements AsyncDisposable {
  /** Wraps a program: it asks this name server, and sees the host unchanged otherwise. */
  readonly prefix: readonly string[];
  readonly #parts: AsyncDisposableStack;

  private constructor(prefix: readonly string[], parts: AsyncDisposableStack) {
    this.prefix = prefix;
    this.#parts = parts;
  }

  static async start(): Promise<SilentNameServer> {
    await using parts = new AsyncDisposableStack();
    const server = address();
    const socket = createSocket('udp4').bind(53, server);
    await once(socket, 'listening');
    parts.defer(() => {
      socket.close();
    });
    const dir = parts.use(new TemporaryDir());
    const file = dir.join('resolv.conf');
    writeFileSync(file, `nameserver ${server}\noptions timeout:15 attempts:1\n`);
    const mount = `mount --bind '${file}' "$(readlink -f /etc/resolv.conf)" && exec "$@"`;
    return new SilentNameServer(['unshare', '--mount', 'sh', '-c', mount, 'sh'], parts.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }
}
