import { stat } from 'node:fs/promises';

import type { Clock } from '../kernel/clock.ts';
import { describeError, OperationalError } from '../kernel/errors.ts';
import { readRegularFile } from './regular-file.ts';

/** How often it is looked whether a file has changed, at the most. */
const LOOK_MS = 2_000;

/** Called when a file became unusable; its last content stays in use. */
export interface FileProblem {
  readonly kind: 'file-unusable';
  readonly path: string;
  readonly reason: string;
}

export interface WatchedFileOptions<T> {
  readonly path: string;
  /** @returns `undefined` if the text is not what it should be */
  readonly parse: (text: string) => T | undefined;
  /** What the file should contain, for messages. */
  readonly expected: string;
  readonly clock: Clock;
  readonly report: (problem: FileProblem) => void;
}

/**
 * A small file that is read again when it changes. An unreadable change leaves the last content: another process may be
 * writing it.
 */
export class WatchedFile<T> {
  readonly #options: WatchedFileOptions<T>;
  #content: T;
  #state: string;
  #lookedAtMs: number;

  /** @throws {@link OperationalError} `CONFIG_INVALID` */
  static async open<T>(options: WatchedFileOptions<T>): Promise<WatchedFile<T>> {
    try {
      const state = await stateOf(options.path);
      return new WatchedFile(options, { state, content: await read(options) });
    } catch (error) {
      throw new OperationalError(
        'CONFIG_INVALID',
        `Cannot use "${options.path}" as ${options.expected}: ${describeError(error)}`,
      );
    }
  }

  private constructor(
    options: WatchedFileOptions<T>,
    found: { readonly state: string; readonly content: T },
  ) {
    this.#options = options;
    this.#state = found.state;
    this.#content = found.content;
    this.#lookedAtMs = options.clock.monotonicMs();
  }

  async current(): Promise<T> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return this.#content;
    this.#lookedAtMs = nowMs;
    // Reads the file's state first: a change in between is found at the next look.
    const state = await stateOf(this.#options.path).catch(() => 'missing');
    if (state === this.#state) return this.#content;
    this.#state = state;
    try {
      this.#content = await read(this.#options);
    } catch (error) {
      const { path, report } = this.#options;
      report({ kind: 'file-unusable', path, reason: describeError(error) });
    }
    return this.#content;
  }
}

async function stateOf(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path);
  return `${mtimeMs} ${size} ${ino}`;
}

async function read<T>({ path, parse, expected }: WatchedFileOptions<T>): Promise<T> {
  const content = parse((await readRegularFile(path)).toString('utf8'));
  if (content !== undefined) return content;
  throw new OperationalError('CONFIG_INVALID', `this is not ${expected}`);
}
