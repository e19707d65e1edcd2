import { parseDuration } from './duration.ts';

/**
 * One setting of a program. The parser, `--help` and the tables of docs/reference/options.md all come from tables of these.
 * Precedence: flag, then environment, then default.
 */
export interface OptionSpec<T> {
  /** Without the dashes: `stop-budget`. */
  readonly flag: string;
  /** Placeholder of the value in help: `DURATION`. Absent for a switch, which takes none. */
  readonly placeholder?: string;
  readonly repeatable?: true;
  /** As the user would write it; empty for none. A derived default says how: `from kuma-dp's --cp-address`. */
  readonly defaultText: string;
  readonly help: string;
  /** The value is not shown in logs or in the plan. */
  readonly secret?: true;
  readonly fallback: T;
  /** Reads all given values, in order, never empty. */
  readonly read: (texts: readonly string[]) => OptionReading<T>;
}

export type OptionReading<T> = { readonly value: T } | { readonly problem: string };

export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;

export type OptionValues<Table extends OptionTable> = {
  readonly [Key in keyof Table]: Table[Key] extends OptionSpec<infer T> ? T : never;
};

export type OptionOrigin = 'flag' | 'environment' | 'default';

export interface ResolvedOptions<Table extends OptionTable> {
  readonly values: OptionValues<Table>;
  readonly origins: Readonly<Record<keyof Table, OptionOrigin>>;
  /** One sentence each, naming flag and environment variable. Empty when all is well. */
  readonly problems: readonly string[];
  /** Problems of the environment that must not stop the program: the default applies instead. */
  readonly ignored: readonly string[];
}

interface Described {
  readonly flag: string;
  readonly help: string;
}

export function durationOption(
  spec: Described & { readonly default: string; readonly min?: string; readonly max?: string },
): OptionSpec<number> {
  const minMs = spec.min === undefined ? 0 : mustParse(spec.min);
  const maxMs = spec.max === undefined ? Infinity : mustParse(spec.max);
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: 'DURATION',
    defaultText: spec.default,
    fallback: mustParse(spec.default),
    read: single((text) => {
      const durationMs = parseDuration(text);
      if (durationMs === undefined) return { problem: `expected a duration such as "30s" or "1m30s"` };
      if (durationMs < minMs) return { problem: `must be at least ${spec.min}` };
      if (durationMs > maxMs) return { problem: `must be at most ${spec.max}` };
      return { value: durationMs };
    }),
  };
}

/** A duration, or one of the given words instead. */
export function durationOrWordOption<Word extends string>(
  spec: Described & { readonly words: readonly Word[]; readonly default: Word },
): OptionSpec<number | Word> {
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: `DURATION|${spec.words.join('|')}`,
    defaultText: spec.default,
    fallback: spec.default,
    read: single<number | Word>((text) => {
      const word = spec.words.find((candidate) => candidate === text);
      if (word !== undefined) return { value: word };
      const durationMs = parseDuration(text);
      if (durationMs !== undefined) return { value: durationMs };
      return { problem: `expected a duration such as "30s", or ${spec.words.join(' or ')}` };
    }),
  };
}

export function choiceOption<Choice extends string>(
  spec: Described & { readonly choices: readonly Choice[]; readonly default: Choice },
): OptionSpec<Choice> {
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: spec.choices.join('|'),
    defaultText: spec.default,
    fallback: spec.default,
    read: single((text) => {
      const choice = spec.choices.find((candidate) => candidate === text);
      return choice === undefined ? { problem: `expected ${spec.choices.join(', ')}` } : { value: choice };
    }),
  };
}

export function textOption(
  spec: Described & { readonly placeholder: string; readonly default?: string; readonly derived?: string },
): OptionSpec<string | undefined> {
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: spec.placeholder,
    defaultText: spec.derived ?? spec.default ?? '',
    fallback: spec.default,
    read: single((text) => (text === '' ? { problem: 'must not be empty' } : { value: text })),
  };
}

/** A path with a default. */
export function pathOption(
  spec: Described & { readonly placeholder: string; readonly default: string },
): OptionSpec<string> {
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: spec.placeholder,
    defaultText: spec.default,
    fallback: spec.default,
    read: single((text) => (text === '' ? { problem: 'must not be empty' } : { value: text })),
  };
}

/** An option with a rule of its own for its value. */
export function valueOption<T>(
  spec: Described & {
    readonly placeholder: string;
    readonly default: string;
    readonly secret?: true;
    readonly read: (text: string) => OptionReading<T>;
  },
): OptionSpec<T> {
  const fallback = spec.read(spec.default);
  if ('problem' in fallback) throw new TypeError(`--${spec.flag}: ${fallback.problem}: "${spec.default}"`);
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: spec.placeholder,
    defaultText: spec.default,
    ...(spec.secret === undefined ? {} : { secret: spec.secret }),
    fallback: fallback.value,
    read: single(spec.read),
  };
}

export function switchOption(spec: Described): OptionSpec<boolean> {
  return {
    flag: spec.flag,
    help: spec.help,
    defaultText: 'off',
    fallback: false,
    read: single((text) => {
      if (['', 'true', '1', 'on', 'yes'].includes(text)) return { value: true };
      if (['false', '0', 'off', 'no'].includes(text)) return { value: false };
      return { problem: 'expected true or false' };
    }),
  };
}

/** Repeatable on the command line; separated by blanks or commas in the environment. */
export function listOption<T>(
  spec: Described & {
    readonly placeholder: string;
    readonly derived?: string;
    readonly item: (text: string) => OptionReading<T>;
  },
): OptionSpec<readonly T[]> {
  return {
    flag: spec.flag,
    help: spec.help,
    placeholder: spec.placeholder,
    repeatable: true,
    defaultText: spec.derived ?? '',
    fallback: [],
    read: (texts) => {
      const values: T[] = [];
      for (const text of texts.flatMap((given) => given.split(/[\s,]+/)).filter((part) => part !== '')) {
        const reading = spec.item(text);
        if ('problem' in reading) return reading;
        values.push(reading.value);
      }
      return { value: values };
    },
  };
}

/** The environment variable of a flag: `stop-budget` → `KUMA_DP_AGENT_STOP_BUDGET`. */
export function environmentName(prefix: string, flag: string): string {
  return `${prefix}${flag.toUpperCase().replaceAll('-', '_')}`;
}

/** Applies flag > environment > default to each option and collects every problem. */
export function resolveOptions<Table extends OptionTable>(
  table: Table,
  sources: {
    readonly flags: ReadonlyMap<string, readonly string[]>;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly envPrefix: string;
    /** If set, problems of the environment are reported here and ignored. */
    readonly lenient?: boolean;
  },
): ResolvedOptions<Table> {
  const values: Record<string, unknown> = {};
  const origins: Record<string, OptionOrigin> = {};
  const problems: string[] = [];
  const ignored: string[] = [];
  for (const [key, spec] of Object.entries(table)) {
    const envName = environmentName(sources.envPrefix, spec.flag);
    const fromFlag = sources.flags.get(spec.flag);
    const fromEnv = sources.env[envName];
    const given = fromFlag ?? (fromEnv === undefined || fromEnv === '' ? undefined : [fromEnv]);
    origins[key] = given === undefined ? 'default' : fromFlag === undefined ? 'environment' : 'flag';
    values[key] = spec.fallback;
    if (given === undefined) continue;
    const reading = spec.read(given);
    if ('value' in reading) {
      values[key] = reading.value;
      continue;
    }
    const problem = `--${spec.flag} (${envName}): ${reading.problem}: ${quoteAll(given, spec.secret)}`;
    if (sources.lenient !== true || fromFlag !== undefined) problems.push(problem);
    else {
      ignored.push(problem);
      origins[key] = 'default';
    }
  }
  return {
    values: Object.freeze(values) as OptionValues<Table>,
    origins: origins as Record<keyof Table, OptionOrigin>,
    problems,
    ignored,
  };
}

/**
 * Options that contradict each other.
 *
 * @param problem one sentence; if one of the options comes from the environment, that option is ignored
 */
export function resolveConflict<Table extends OptionTable>(
  table: Table,
  resolved: ResolvedOptions<Table>,
  { keys, problem }: { readonly keys: readonly (keyof Table)[]; readonly problem: string },
): ResolvedOptions<Table> {
  const fromEnvironment = keys.filter((key) => resolved.origins[key] === 'environment');
  if (fromEnvironment.length === 0) return { ...resolved, problems: [...resolved.problems, problem] };
  const defaults = Object.fromEntries(fromEnvironment.map((key) => [key, table[key]?.fallback]));
  const origins = Object.fromEntries(fromEnvironment.map((key) => [key, 'default']));
  return {
    ...resolved,
    values: Object.freeze({ ...resolved.values, ...defaults }) as OptionValues<Table>,
    origins: { ...resolved.origins, ...origins },
    ignored: [...resolved.ignored, problem],
  };
}

function single<T>(read: (text: string) => OptionReading<T>): OptionSpec<T>['read'] {
  return (texts) => (texts.length === 1 ? read(texts[0] ?? '') : { problem: 'given more than once' });
}

/** Parts of a value that may be secret: credentials of a URL, a query, a token, a key. */
const MAY_BE_SECRET = /@|[?#]\S*=|\beyJ|-----BEGIN|\b(?:bearer|password|passwd|token|secret)\b\s*[=: ]/i;

function quoteAll(texts: readonly string[], secret: true | undefined): string {
  return secret === true || texts.some((text) => MAY_BE_SECRET.test(text))
    ? '[redacted]'
    : texts.map((text) => JSON.stringify(text)).join(', ');
}

function mustParse(text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === undefined) throw new TypeError(`Not a duration: "${text}"`);
  return durationMs;
}
