import type { Inherited } from '../child/inherited.pure.ts';
import type { SignalSource } from '../child/signals.io.ts';
import type { RunOptions } from '../options.ts';

/** What `run` was asked for, as the command line and the environment say it. */
export interface RunRequest {
  readonly options: RunOptions;
  readonly origins: Readonly<Record<keyof RunOptions, string>>;
  /** What is wrong with the environment, one sentence each: the default holds in its place. */
  readonly ignored: readonly string[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What this process was started with; `env` is part of it. */
  readonly inherited: Inherited;
  readonly signals: SignalSource;
  /** What the agent was started with, beside the standard streams. */
  readonly descriptors: readonly number[];
}

/** The options that are not as they come. */
export function settingsGiven({ options, origins }: RunRequest): Record<string, unknown> {
  const given = Object.entries(options).filter(([key]) => origins[key as keyof RunOptions] !== 'default');
  return Object.fromEntries(given);
}
