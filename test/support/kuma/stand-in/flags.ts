import { parseDuration } from '../../../../kernel/duration.ts';

/** What cobra prints after `Error:` before kuma-dp exits with 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

type Kind = 'string' | 'duration' | 'bool' | 'number' | 'map';

interface Flag {
  readonly kind: Kind;
  readonly shorthand?: string;
}

const STRING: Flag = { kind: 'string' };
const BOOL: Flag = { kind: 'bool' };
const NUMBER: Flag = { kind: 'number' };

/** The flags of `kuma-dp run` with those of its root command. @see kuma v2.14.3 app/kuma-dp/cmd/run.go, root.go */
const FLAGS = {
  name: STRING,
  mesh: STRING,
  'proxy-type': STRING,
  'drain-time': { kind: 'duration' },
  'cp-address': STRING,
  'ca-cert-file': STRING,
  'skip-verify': BOOL,
  'binary-path': STRING,
  concurrency: NUMBER,
  'config-dir': STRING,
  'work-dir': STRING,
  'dataplane-token-file': STRING,
  'dataplane-token': STRING,
  dataplane: STRING,
  'dataplane-file': { kind: 'string', shorthand: 'd' },
  'dataplane-var': { kind: 'map', shorthand: 'v' },
  'envoy-log-level': STRING,
  'envoy-component-log-level': STRING,
  'metrics-cert-path': STRING,
  'metrics-key-path': STRING,
  'bind-outbounds': BOOL,
  'dns-enabled': BOOL,
  'dns-envoy-port': NUMBER,
  'dns-coredns-port': NUMBER,
  'dns-coredns-path': STRING,
  'dns-coredns-config-template-path': STRING,
  'dns-server-config-dir': STRING,
  'dns-prometheus-port': NUMBER,
  'dns-enable-logging': BOOL,
  'transparent-proxy': BOOL,
  'transparent-proxy-config': STRING,
  'log-level': STRING,
  'log-output-path': STRING,
  'log-max-retained-files': NUMBER,
  'log-max-size': NUMBER,
  'log-max-age': NUMBER,
} as const satisfies Record<string, Flag>;

export type FlagName = keyof typeof FLAGS;
export type FlagValues = ReadonlyMap<FlagName, string>;

const BOOL_WORDS = new Set(['1', 't', 'T', 'TRUE', 'true', 'True', '0', 'f', 'F', 'FALSE', 'false', 'False']);

/**
 * Reads flags as pflag does: `--name value`, `--name=value`, `-d value`, `-dvalue`; a flag given twice counts once, but
 * maps add up (joined by commas here). Other words are ignored.
 *
 * @throws {@link CommandError} in pflag's words
 */
export function parseFlags(argv: readonly string[]): FlagValues {
  const values = new Map<FlagName, string>();
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined && word !== '--'; word = rest.shift()) {
    if (word.startsWith('--')) readLong(word, rest, values);
    else if (word.startsWith('-') && word !== '-') readShort(word, rest, values);
  }
  return values;
}

function readLong(word: string, rest: string[], values: Map<FlagName, string>): void {
  const [name = '', ...parts] = word.slice(2).split('=');
  if (!isFlag(name)) throw new CommandError(`unknown flag: --${name}`);
  const { kind } = FLAGS[name];
  let value = parts.length > 0 ? parts.join('=') : undefined;
  if (value === undefined && kind === 'bool') value = 'true';
  value ??= rest.shift();
  if (value === undefined) throw new CommandError(`flag needs an argument: --${name}`);
  put(values, name, value);
}

function readShort(word: string, rest: string[], values: Map<FlagName, string>): void {
  const letter = word.charAt(1);
  const name = Object.keys(FLAGS).find((flag) => isFlag(flag) && shorthandOf(flag) === letter);
  if (name === undefined || !isFlag(name)) {
    throw new CommandError(`unknown shorthand flag: '${letter}' in ${word}`);
  }
  const attached = word.slice(2).replace(/^=/, '');
  const value = attached === '' ? rest.shift() : attached;
  if (value === undefined) throw new CommandError(`flag needs an argument: '${letter}' in ${word}`);
  put(values, name, value);
}

function put(values: Map<FlagName, string>, name: FlagName, value: string): void {
  const problem = problemWith(FLAGS[name].kind, value);
  if (problem !== undefined) {
    const shorthand = shorthandOf(name);
    const label = shorthand === undefined ? `--${name}` : `-${shorthand}, --${name}`;
    throw new CommandError(`invalid argument ${JSON.stringify(value)} for "${label}" flag: ${problem}`);
  }
  const before = values.get(name);
  values.set(name, FLAGS[name].kind === 'map' && before !== undefined ? `${before},${value}` : value);
}

function problemWith(kind: Kind, value: string): string | undefined {
  switch (kind) {
    case 'string':
      return undefined;
    case 'bool':
      return BOOL_WORDS.has(value)
        ? undefined
        : `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
    case 'number':
      return /^\d+$/.test(value)
        ? undefined
        : `strconv.ParseUint: parsing ${JSON.stringify(value)}: invalid syntax`;
    case 'duration':
      return parseDuration(value) === undefined
        ? `time: invalid duration ${JSON.stringify(value)}`
        : undefined;
    case 'map': {
      const wrong = value.split(',').find((pair) => !pair.includes('='));
      return wrong === undefined ? undefined : `${wrong} must be formatted as key=value`;
    }
  }
}

function isFlag(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

function shorthandOf(name: FlagName): string | undefined {
  const flag: Flag = FLAGS[name];
  return flag.shorthand;
}
