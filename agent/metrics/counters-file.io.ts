import { OperationalError } from '../../kernel/errors.ts';
import { Counters } from './counters.pure.ts';
import { readBounded } from '../state/bounded-file.io.ts';
import { WholeFile } from '../state/whole-file.io.ts';

/** Counters of one run for the next, in a file beside the state file. */
export class CountersFile {
  readonly #file: WholeFile;

  constructor(stateFile: string) {
    this.#file = new WholeFile(`${stateFile.replace(/\.json$/, '')}.tallies`);
  }

  /**
   * @returns `undefined` if there is none
   * @throws `STATE_UNUSABLE` if it cannot be read or is not one of ours
   */
  read(): Counters | undefined {
    const { path } = this.#file;
    try {
      return Counters.parse(JSON.parse(readBounded(path)));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new OperationalError('STATE_UNUSABLE', `Cannot continue the counters of "${path}"`, { cause });
    }
  }

  /** Settles when they are on disk. */
  write(counters: Counters): Promise<void> {
    return this.#file.write(`${JSON.stringify(counters)}\n`);
  }
}
