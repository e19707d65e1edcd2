import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { TemporaryDir } from '../world/temporary-dir.ts';

/** How the two versions of control groups name the same things. */
const VERSIONS = [
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', events: 'memory.oom_control' },
  { root: '/sys/fs/cgroup', limit: 'memory.max', events: 'memory.events' },
] as const;

/** A page is more than it may have. */
const LIMIT_BYTES = 4_096;

/** A control group of this machine in which a process gets no memory any more: what it asks for next kills it. */
export class OutOfMemory implements Disposable {
  readonly #path: string;
  readonly #events: string;

  /** @param pid as this machine counts; what it has already, it keeps */
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
