import type { Clock } from '../kernel/clock.ts';
import { describeError, OperationalError } from '../kernel/errors.ts';
import { readRegularFile, versionOf } from './regular-file.ts';

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
  #version: string;
  #problem: string | undefined;
  #lookedAtMs: number;

  /** @throws {@link OperationalError} `CONFIG_INVALID` */
  static async open<T>(options: WatchedFileOptions<T>): Promise<WatchedFile<T>> {
    try {
      const version = await versionOf(options.path);
      return new WatchedFile(options, { version, content: await read(options) });
    } catch (error) {
      throw new OperationalError(
        'CONFIG_INVALID',
        `Cannot use "${options.path}" as ${options.expected}: ${describeError(error)}`,
      );
    }
  }

  private constructor(
    options: WatchedFileOptions<T>,
    found: { readonly version: string; readonly content: T },
  ) {
    this.#options = options;
    this.#version = found.version;
    this.#content = found.content;
    this.#lookedAtMs = options.clock.monotonicMs();
  }

  async current(): Promise<T> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return this.#content;
    this.#lookedAtMs = nowMs;
    // Looks at the version first: a change in between is found at the next look.
    const version = await versionOf(this.#options.path);
    if (version === this.#version) return this.#content;
    try {
      this.#content = await read(this.#options);
      this.#version = version;
      this.#problem = undefined;
    } catch (error) {
      this.#reportOnce(describeError(error));
    }
    return this.#content;
  }

  #reportOnce(reason: string): void {
    const { path, report } = this.#options;
    if (reason !== this.#problem) report({ kind: 'file-unusable', path, reason });
    this.#problem = reason;
  }
}

async function read<T>({ path, parse, expected }: WatchedFileOptions<T>): Promise<T> {
  const content = parse((await readRegularFile(path)).toString('utf8'));
  if (content !== undefined) return content;
  throw new OperationalError('CONFIG_INVALID', `this is not ${expected}`);
}
