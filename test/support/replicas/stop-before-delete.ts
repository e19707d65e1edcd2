/**
 * Preloaded into a companion with `--import`: it pauses once, just before it writes the bytes of its first DELETE. No
 * check lies between this point and the kernel.
 */
import { Socket } from 'node:net';
import process from 'node:process';

type Write = (this: Socket, ...given: readonly unknown[]) => void;

// All writes of Node's sockets pass through it; it is not documented.
const NAME = '_writeGeneric';
const prototype = Socket.prototype as unknown as Record<typeof NAME, Write>;
const write = prototype[NAME];
let stopped = false;

prototype[NAME] = function writeLater(...given) {
  const [, data] = given;
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  if (!stopped && text.includes('DELETE /meshes/')) {
    stopped = true;
    process.kill(process.pid, 'SIGSTOP');
  }
  write.call(this, ...given);
};
