import { OperationalError } from '../../kernel/errors.ts';
import { readBounded } from './bounded-file.io.ts';
import { HostState } from './host-state.pure.ts';
import { whyUnreadable } from '../../program/foreign-files.ts';
import { WholeFile } from './whole-file.io.ts';
import { parseJson } from '../../kernel/json.ts';

/**
 * @returns `undefined` if there is no such file
 * @throws `STATE_UNUSABLE` if it cannot be read or is not one of ours
 */
export function readStateFile(path: string): HostState | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const parsed = HostState.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new OperationalError(
    'STATE_UNUSABLE',
    `Cannot read state file "${path}": it is damaged or of another version`,
  );
}

function readIfThere(path: string): string | undefined {
  try {
    return readBounded(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    if (cause instanceof OperationalError) throw cause;
    const isDenied = (cause as NodeJS.ErrnoException).code === 'EACCES';
    throw new OperationalError(
      'STATE_UNUSABLE',
      `Cannot read state file "${path}"${isDenied ? `: ${whyUnreadable(path)}` : ''}`,
      isDenied ? {} : { cause },
    );
  }
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
