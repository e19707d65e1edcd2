import { chmodSync, copyFileSync, cpSync, linkSync, mkdirSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import process from 'node:process';

import { AGENT_BIN, CHILD, ROOT } from './agent-process.ts';
import { TemporaryDir } from './world/temporary-dir.ts';

/** Runs the command that follows as a user without any rights. Needs root. */
export const AS_ANOTHER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'] as const;

/**
 * The built agent, the stand-in for kuma-dp and Node in a folder from which any user may run them: the clone may be
 * below a folder that only its owner may enter, such as one of `mktemp -d`.
 */
export class CopyForOthers implements Disposable {
  readonly bin: string;
  readonly child: string;
  readonly #dir = new TemporaryDir();

  constructor() {
    chmodSync(this.#dir.path, 0o755);
    const build = dirname(dirname(AGENT_BIN));
    this.bin = this.#dir.join(basename(build), relative(build, AGENT_BIN));
    this.child = this.#dir.join(relative(ROOT, CHILD));
    cpSync(build, dirname(dirname(this.bin)), { recursive: true });
    cpSync(dirname(CHILD), dirname(this.child), { recursive: true });
    this.#take('scripts/pinned-node');
    this.#take(`node_modules/node-linux-${process.arch}/bin/node`);
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }

  #take(file: string): void {
    const [from, to] = [join(ROOT, file), this.#dir.join(file)];
    mkdirSync(dirname(to), { recursive: true });
    // Node has 120 MB.
    try {
      linkSync(from, to);
    } catch {
      copyFileSync(from, to);
    }
  }
}
