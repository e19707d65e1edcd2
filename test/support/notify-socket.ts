import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

import { TemporaryDir } from './world/temporary-dir.ts';
import { waitUntil } from './world/wait-until.ts';

/** One datagram of sd_notify(3). */
export interface Notice {
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  readonly assignments: readonly string[];
}

/**
 * Node has no Unix datagram sockets. A descriptor in a message is systemd-notify's barrier: closing it releases the
 * sender.
 */
const LISTENER = `
import json, os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('{}', flush=True)
while True:
    data, fds, _, _ = socket.recv_fds(s, 65536, 8)
    for fd in fds:
        os.close(fd)
    print(json.dumps({'atMs': time.time() * 1000, 'assignments': [l for l in data.decode().split(chr(10)) if l]}), flush=True)
`;

/** A service manager's end of `NOTIFY_SOCKET`, which receives the real bytes. */
export class NotifySocket implements AsyncDisposable {
  readonly path: string;
  readonly #dir = new TemporaryDir();
  readonly #notices: Notice[] = [];
  readonly #listener: ChildProcess;
  #ready = false;

  private constructor() {
    this.path = this.#dir.join('notify');
    this.#listener = spawn('python3', ['-c', LISTENER, this.path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const { stdout } = this.#listener;
    if (stdout === null) throw new Error('No standard output');
    createInterface(stdout).on('line', (line) => {
      if (this.#ready) this.#notices.push(JSON.parse(line) as Notice);
      this.#ready = true;
    });
  }

  static async start(): Promise<NotifySocket> {
    const socket = new NotifySocket();
    await waitUntil(() => socket.#ready, { what: 'the notify socket' });
    return socket;
  }

  /** Messages with anything in them; the barrier's own is left out. */
  get notices(): readonly Notice[] {
    return this.#notices.filter(({ assignments }) => !assignments.includes('BARRIER=1'));
  }

  get assignments(): readonly string[] {
    return this.notices.flatMap(({ assignments }) => assignments);
  }

  async waitFor(assignment: string): Promise<Notice> {
    return waitUntil(() => this.notices.find(({ assignments }) => assignments.includes(assignment)), {
      what: `${assignment} in ${JSON.stringify(this.notices)}`,
      budgetMs: 20_000,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#listener.once('exit', resolve));
    this.#listener.kill('SIGKILL');
    await ended;
    this.#dir[Symbol.dispose]();
  }
}
