import { isDeepStrictEqual } from 'node:util';

import type { Clock } from '../kernel/clock.ts';
import { describeError, OperationalError } from '../kernel/errors.ts';
import { readRegularFileSync, versionOf } from './regular-file.ts';

/** Called once for each fault of new content. The last good content stays in use. */
export type OnFileKept = (path: string, err: unknown) => void;

export interface KeptFilesOptions<T> {
  readonly paths: readonly string[];
  /** Reads all of them. @throws if what they contain is unusable */
  readonly load: () => T;
  readonly onKept: OnFileKept;
  /** For files that are asked for with each call: then {@link KeptFiles.fresh} looks at most every 100 ms. */
  readonly clock?: Clock | undefined;
}

const LOOK_EVERY_MS = 100;

/**
 * The content of files that may be replaced while the program runs. They are read only when asked, and only after a
 * change, so that a stop touches no disk. Unusable content leaves the last good one in use: another process may be
 * writing, and a certificate and its key do not fit while only one of them is replaced.
 */
export class KeptFiles<T> {
  readonly #options: KeptFilesOptions<T>;
  #content: T;
  #versions: string;
  #problem: string | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  /** @throws what `load` throws */
  constructor(options: KeptFilesOptions<T>) {
    this.#options = options;
    this.#versions = this.#look();
    this.#content = options.load();
  }

  get current(): T {
    return this.#content;
  }

  /** Looks at the files first; with a clock, only if the last look is 100 ms old. */
  get fresh(): T {
    if (this.#isLookDue()) this.refresh();
    return this.#content;
  }

  /** Looks at the files. @returns whether their content is another one, or usable again */
  refresh(): boolean {
    // The versions first: a change in between is found at the next look.
    const versions = this.#look();
    if (versions === this.#versions) return false;
    try {
      const content = this.#options.load();
      const isNew = this.#problem !== undefined || !isDeepStrictEqual(content, this.#content);
      this.#content = content;
      this.#versions = versions;
      this.#problem = undefined;
      return isNew;
    } catch (error) {
      this.#reportOnce(error);
      return false;
    }
  }

  #isLookDue(): boolean {
    const { clock } = this.#options;
    if (clock === undefined) return true;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_EVERY_MS) return false;
    this.#lookedAtMs = nowMs;
    return true;
  }

  #look(): string {
    return this.#options.paths.map(versionOf).join('; ');
  }

  #reportOnce(error: unknown): void {
    const { paths, onKept } = this.#options;
    const problem = describeError(error);
    if (problem !== this.#problem) onKept(paths.join(', '), error);
    this.#problem = problem;
  }
}

export interface KeptTextOptions<T> {
  readonly path: string;
  /** @returns `undefined` if the text is not what it should be */
  readonly parse: (text: string) => T | undefined;
  /** What the file should contain, for messages. */
  readonly expected: string;
  readonly onKept: OnFileKept;
  readonly clock?: Clock | undefined;
}

/** One small text file. @throws {@link OperationalError} `CONFIG_INVALID` */
export function keptText<T>({ path, parse, expected, ...rest }: KeptTextOptions<T>): KeptFiles<T> {
  const load = (): T => {
    const content = parse(readRegularFileSync(path).toString('utf8'));
    if (content !== undefined) return content;
    throw new OperationalError('CONFIG_INVALID', `this is not ${expected}`);
  };
  try {
    return new KeptFiles({ paths: [path], load, ...rest });
  } catch (error) {
    throw new OperationalError(
      'CONFIG_INVALID',
      `Cannot use "${path}" as ${expected}: ${describeError(error)}`,
    );
  }
}
