import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

import { OperationalError } from '../../kernel/errors.ts';
import { HostState } from '../core/host-state.ts';

/**
 * @returns `undefined` if there is no such file
 * @throws `STATE_UNUSABLE` if it cannot be read or is not one of ours
 */
export function readStateFile(path: string): HostState | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OperationalError('STATE_UNUSABLE', `Cannot read state file "${path}"`, { cause });
  }
  const parsed = HostState.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new OperationalError(
    'STATE_UNUSABLE',
    `Cannot read state file "${path}": it is damaged or of another version`,
  );
}

/** Writes one state file, each time whole or not at all; later writes wait for earlier ones. */
export class StateFile {
  readonly path: string;
  #written: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /** Settles when `state` is on disk. */
  write(state: HostState): Promise<void> {
    const write = this.#written.then(async () => {
      const partial = `${this.path}.${state.agent.pid}.tmp`;
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      await writeFile(partial, `${JSON.stringify(state)}\n`, { mode: 0o600 });
      await rename(partial, this.path);
    });
    this.#written = write.catch(() => {});
    return write;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
