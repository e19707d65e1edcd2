import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { TemporaryDir } from '../world/temporary-dir.ts';

/** How the two versions of control groups name the same things. */
const VERSIONS = [
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', events: 'memory.oom_control' },
  { root: '/sys/fs/cgroup', limit: 'memory.max', events: 'memory.events' },
] as const;

/** Less than any process uses, so that it gets no further page. */
const LIMIT_BYTES = 4_096;

/** A control group of this machine whose processes get no memory any more: the next request for memory kills them. */
export class OutOfMemory implements Disposable {
  readonly #path: string;
  readonly #events: string;

  /** @param pid on this machine; it keeps the memory that it has */
  constructor(pid: number) {
    const version = VERSIONS.find(({ root, limit }) => existsSync(join(root, limit))) ?? VERSIONS[1];
    using name = new TemporaryDir();
    this.#path = join(version.root, basename(name.path));
    this.#events = version.events;
    mkdirSync(this.#path);
    writeFileSync(join(this.#path, version.limit), String(LIMIT_BYTES));
    writeFileSync(join(this.#path, 'cgroup.procs'), String(pid));
  }

  /** How many processes the kernel has killed for it. */
  get killed(): number {
    const text = readFileSync(join(this.#path, this.#events), 'utf8');
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path);
  }
}
