import type { Inherited } from '../child/inherited.pure.ts';
import type { SignalSource } from '../child/signals.io.ts';
import type { RunOptions } from '../options.ts';

/** The request of `run`, from command line and environment. */
export interface RunRequest {
  readonly options: RunOptions;
  readonly origins: Readonly<Record<keyof RunOptions, string>>;
  /** Problems of the environment, one sentence each: the defaults apply. */
  readonly ignored: readonly string[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What this process was started with; `env` is part of it. */
  readonly inherited: Inherited;
  readonly signals: SignalSource;
  /** Inherited descriptors beside the standard streams. */
  readonly descriptors: readonly number[];
}

/** Commands of the operator may hold a password. */
const COMMANDS: ReadonlySet<string> = new Set<keyof RunOptions>(['onReady', 'onLeave', 'onDrained']);

/** The options that differ from their defaults, without what may be secret. */
export function settingsGiven({ options, origins }: RunRequest): Record<string, unknown> {
  const given = Object.entries(options).filter(([key]) => origins[key as keyof RunOptions] !== 'default');
  return Object.fromEntries(given.map(([key, value]) => [key, COMMANDS.has(key) ? 'given' : value]));
}
