import { readFileSync } from 'node:fs';

import { OperationalError } from '../../kernel/errors.ts';
import { HostState } from './host-state.pure.ts';
import { WholeFile } from './whole-file.io.ts';
import { parseJson } from '../../kernel/json.ts';

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

export class StateFile {
  readonly #file: WholeFile;

  constructor(path: string) {
    this.#file = new WholeFile(path);
  }

  get path(): string {
    return this.#file.path;
  }

  /** Settles when `state` is on disk. */
  write(state: HostState): Promise<void> {
    return this.#file.write(`${JSON.stringify(state)}\n`);
  }
}
