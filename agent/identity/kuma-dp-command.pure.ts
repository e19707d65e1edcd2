/**
 * Reads the wrapped command as kuma-dp itself will: cobra parses the flags, then the `KUMA_*` environment overrides
 * them. Nothing is judged here; what kuma-dp would refuse, kuma-dp refuses.
 *
 * @see kuma 2.14.3: app/kuma-dp/cmd/run.go (flags, `config.Load("", cfg)` in PreRunE), pkg/config/app/kuma-dp/config.go
 */

import { unwrap, type Obstacle, type Wrapping, type WrappingContext } from './wrapping.pure.ts';

/** kuma-dp's own defaults, the same from 2.7 to 3.0. */
export const READINESS_PORT = '9902';
export const DRAIN_TIME_MS = 30_000;

type CommandEnv = Readonly<Record<string, string | undefined>>;

/** The settings of `kuma-dp run` that the agent cares for, after flags and environment. */
export interface KumaDpCommand {
  readonly name: string;
  readonly mesh: string;
  readonly proxyType: string;
  readonly drainTime: string;
  readonly cpAddress: string;
  readonly caCertFile: string;
  /** PEM; wins over the file. */
  readonly caCert: string;
  readonly skipVerify: boolean;
  /** `-` is standard input; wins over the inline resource. */
  readonly resourcePath: string;
  readonly resource: string;
  readonly resourceVars: Readonly<Record<string, string>>;
  readonly tokenPath: string;
  readonly token: string;
  /** Kong Mesh's `--auth-type`: `aws` is the IAM role of the task in place of a token. */
  readonly authType: string;
  readonly workDir: string;
  readonly readinessPort: string;
  /** Programs between the agent and kuma-dp that break a stop. */
  readonly obstacles: readonly Obstacle[];
  /** Whether kuma-dp's words can be replaced: not if they are part of a script, or of a container's command. */
  readonly rewritable: boolean;
}

/** Flags without a value. */
const SWITCHES: ReadonlySet<string> = new Set([
  'help',
  'skip-verify',
  'dns-enabled',
  'dns-enable-logging',
  'bind-outbounds',
  'transparent-proxy',
  // Kong Mesh.
  'opa-enabled',
]);

/**
 * Flags that take the next argument, whatever it looks like. For a flag in neither list, the next argument is the value
 * unless it looks like a flag.
 *
 * @see https://developer.konghq.com/mesh/policies/meshopa for Kong Mesh's
 */
const VALUED: ReadonlySet<string> = new Set([
  'name',
  'mesh',
  'proxy-type',
  'drain-time',
  'cp-address',
  'ca-cert-file',
  'binary-path',
  'concurrency',
  'config-dir',
  'work-dir',
  'dataplane-token-file',
  'dataplane-token',
  'dataplane',
  'dataplane-file',
  'dataplane-var',
  'envoy-log-level',
  'envoy-component-log-level',
  'log-level',
  'log-output-path',
  // Kong Mesh.
  'auth-type',
  'opa-addr',
  'opa-config-path',
  'opa-diagnostic-addr',
  'opa-ext-authz-addr',
  'opa-set',
]);

/** The values that Go's strconv.ParseBool reads as true. */
const GO_TRUE: ReadonlySet<string> = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);

const SHORTHANDS: Readonly<Record<string, string>> = { d: 'dataplane-file', v: 'dataplane-var', h: 'help' };

/**
 * @param argv the wrapped command, its program first
 * @param readScriptFile the text of a script that stands in front of kuma-dp
 * @returns `undefined` if it does not look like `… kuma-dp … run …`
 */
export function readKumaDpCommand(
  argv: readonly string[],
  env: CommandEnv,
  readScriptFile?: WrappingContext['readScriptFile'],
): KumaDpCommand | undefined {
  const wrapping = unwrap({ argv, env, ...(readScriptFile === undefined ? {} : { readScriptFile }) });
  const words = splitAtRun(wrapping.argv);
  if (words === undefined) return undefined;
  return {
    ...inFolder(wrapping.folder, readSettings([...words.before, ...words.behind], wrapping.env)),
    obstacles: wrapping.obstacles,
    rewritable: wrapping.inFront !== undefined,
  };
}

/** Whether the command names kuma-dp behind another program: then a process of that name has to appear. */
export function isWrapped(argv: readonly string[], env: CommandEnv): boolean {
  const { argv: own, inFront } = unwrap({ argv, env });
  return own.length > 0 && inFront !== 0;
}

/** Programs in front of a command that may not run kuma-dp. */
export function obstaclesOf(argv: readonly string[], env: CommandEnv): readonly Obstacle[] {
  return unwrap({ argv, env }).obstacles;
}

/** cobra takes flags on both sides of the subcommand. */
function splitAtRun(
  argv: readonly string[],
): { readonly before: readonly string[]; readonly behind: readonly string[] } | undefined {
  let at = 1;
  for (const { flag, source } of tokens(argv.slice(1))) {
    if (flag === undefined && source[0] === 'run') {
      return { before: argv.slice(1, at), behind: argv.slice(at + 1) };
    }
    at += source.length;
  }
  return undefined;
}

type Settings = Omit<KumaDpCommand, 'obstacles' | 'rewritable'>;

/** If a program in front changes the folder, kuma-dp reads its files from there. */
function inFolder(folder: string | undefined, settings: Settings): Settings {
  if (folder === undefined) return settings;
  const there = (path: string): string =>
    path === '' || path === '-' || path.startsWith('/') ? path : `${folder}/${path}`;
  const { caCertFile, resourcePath, tokenPath } = settings;
  return {
    ...settings,
    caCertFile: there(caCertFile),
    resourcePath: there(resourcePath),
    tokenPath: there(tokenPath),
  };
}

function readSettings(args: readonly string[], env: CommandEnv): Settings {
  const flags = readFlags(args);
  const last = (flag: string): string | undefined => flags.get(flag)?.at(-1);
  // kelseyhightower/envconfig: a variable that is set but empty still overrides.
  const pick = (flag: string | undefined, variable: string, fallback: string): string =>
    env[variable] ?? (flag === undefined ? undefined : last(flag)) ?? fallback;
  return {
    name: podNameUnlessNamed(pick('name', 'KUMA_DATAPLANE_NAME', ''), env),
    mesh: pick('mesh', 'KUMA_DATAPLANE_MESH', ''),
    proxyType: pick('proxy-type', 'KUMA_DATAPLANE_PROXY_TYPE', 'dataplane'),
    drainTime: pick('drain-time', 'KUMA_DATAPLANE_DRAIN_TIME', '30s'),
    cpAddress: pick('cp-address', 'KUMA_CONTROL_PLANE_URL', 'https://localhost:5678'),
    caCertFile: pick('ca-cert-file', 'KUMA_CONTROL_PLANE_CA_CERT_FILE', ''),
    caCert: pick(undefined, 'KUMA_CONTROL_PLANE_CA_CERT', ''),
    skipVerify: GO_TRUE.has(pick('skip-verify', 'KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY', 'false')),
    resourcePath: pick('dataplane-file', 'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH', ''),
    resource: pick('dataplane', 'KUMA_DATAPLANE_RUNTIME_RESOURCE', ''),
    resourceVars: readVars(flags.get('dataplane-var') ?? []),
    tokenPath: pick('dataplane-token-file', 'KUMA_DATAPLANE_RUNTIME_TOKEN_PATH', ''),
    token: pick('dataplane-token', 'KUMA_DATAPLANE_RUNTIME_TOKEN', ''),
    authType: last('auth-type') ?? '',
    workDir: pick('work-dir', 'KUMA_DATAPLANE_RUNTIME_WORK_DIR', last('config-dir') ?? ''),
    readinessPort: pick(undefined, 'KUMA_READINESS_PORT', READINESS_PORT),
  };
}

/** @see kuma 2.14.3: pkg/config/app/kuma-dp/config.go, `PostProcess` */
function podNameUnlessNamed(name: string, env: CommandEnv): string {
  const { POD_NAME: pod, POD_NAMESPACE: namespace } = env;
  const named = name !== '' && !/[$(){}]/.test(name);
  return named || pod === undefined || namespace === undefined ? name : `${pod}.${namespace}`;
}

/** The files that kuma-dp does not start without. */
export function filesOf(
  command: KumaDpCommand,
): readonly { readonly option: string; readonly path: string }[] {
  const { resourcePath, tokenPath, token, caCertFile, caCert } = command;
  return [
    { option: '--dataplane-file', path: resourcePath === '-' ? '' : resourcePath },
    { option: '--dataplane-token-file', path: token === '' ? tokenPath : '' },
    { option: '--ca-cert-file', path: caCert === '' ? caCertFile : '' },
  ].filter(({ path }) => path !== '');
}

/** Whether kuma-dp will read its resource from standard input. */
export function readsStandardInput(command: KumaDpCommand | undefined): boolean {
  return command?.resourcePath === '-';
}

/** Variables that bring the resource or override the name. */
const RESOURCE_VARIABLES: ReadonlySet<string> = new Set([
  'KUMA_DATAPLANE_RUNTIME_RESOURCE',
  'KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH',
  'KUMA_DATAPLANE_NAME',
  'KUMA_DATAPLANE_MESH',
]);

/**
 * The command for a Dataplane that was put beforehand: `--name` and `--mesh` in place of the resource, because kuma-dp
 * refuses both together. Only for a command that is {@link KumaDpCommand.rewritable}.
 */
export function asPreApplied(
  argv: readonly string[],
  env: CommandEnv,
  key: { readonly mesh: string; readonly name: string },
): { readonly argv: readonly string[]; readonly env: Record<string, string | undefined> } {
  const wrapping: Wrapping = unwrap({ argv, env });
  const words = splitAtRun(wrapping.argv);
  const [program = ''] = wrapping.argv;
  const inFront = argv
    .slice(0, wrapping.inFront)
    .filter((word) => !RESOURCE_VARIABLES.has(word.split('=')[0] ?? ''));
  return {
    argv: [
      ...inFront,
      program,
      ...withoutResource(words?.before ?? []),
      'run',
      `--name=${key.name}`,
      `--mesh=${key.mesh}`,
      ...withoutResource(words?.behind ?? []),
    ],
    env: Object.fromEntries(Object.entries(env).filter(([name]) => !RESOURCE_VARIABLES.has(name))),
  };
}

function withoutResource(args: readonly string[]): readonly string[] {
  const dropped = new Set(['dataplane', 'dataplane-file', 'dataplane-var', 'name', 'mesh']);
  return [...tokens(args)].flatMap(({ flag, source }) =>
    flag !== undefined && dropped.has(flag) ? [] : source,
  );
}

interface CommandToken {
  /** Long name; `undefined` for an operand. */
  readonly flag: string | undefined;
  readonly value: string | undefined;
  readonly source: readonly string[];
}

function readFlags(args: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, string[]>();
  for (const { flag, value } of tokens(args)) {
    if (flag === undefined) continue;
    flags.set(flag, [...(flags.get(flag) ?? []), value ?? 'true']);
  }
  return flags;
}

/** As spf13/pflag splits them: `--flag=v`, `--flag v`, `-f v`, `-fv`, `-f=v`; `--` ends the flags. */
function* tokens(args: readonly string[]): Generator<CommandToken> {
  for (let at = 0; at < args.length; at += 1) {
    const argument = args[at] ?? '';
    if (argument === '--') {
      yield { flag: undefined, value: undefined, source: args.slice(at) };
      return;
    }
    const [flag, inline] = splitFlag(argument);
    const takesNext = flag !== undefined && inline === undefined && takesValue(flag, args[at + 1]);
    yield {
      flag,
      value: takesNext ? args[at + 1] : inline,
      source: args.slice(at, at + (takesNext ? 2 : 1)),
    };
    if (takesNext) at += 1;
  }
}

function takesValue(flag: string, next: string | undefined): boolean {
  if (SWITCHES.has(flag)) return false;
  return VALUED.has(flag) || (next !== undefined && !next.startsWith('-'));
}

function splitFlag(argument: string): readonly [flag: string | undefined, inline: string | undefined] {
  if (argument.startsWith('--')) {
    const equals = argument.indexOf('=');
    return equals === -1
      ? [argument.slice(2), undefined]
      : [argument.slice(2, equals), argument.slice(equals + 1)];
  }
  if (!argument.startsWith('-') || argument === '-') return [undefined, undefined];
  const letter = argument.slice(1, 2);
  const rest = argument.slice(2).replace(/^=/, '');
  return [SHORTHANDS[letter] ?? letter, rest === '' ? undefined : rest];
}

/** `k=v`, repeatable. A text with several `=` is split at its commas, as CSV; others are not. pflag does the same. */
function readVars(given: readonly string[]): Record<string, string> {
  const vars: Record<string, string> = {};
  for (const text of given) {
    for (const pair of splitVars(text)) {
      const equals = pair.indexOf('=');
      if (equals > 0) vars[pair.slice(0, equals)] = pair.slice(equals + 1);
    }
  }
  return vars;
}

/** @see https://github.com/spf13/pflag/blob/1bbbeded9d41d4adb8a4f25f3f8296db815a8a84/string_to_string.go#L27 */
function splitVars(text: string): readonly string[] {
  if (text.indexOf('=') === text.lastIndexOf('=')) return [text.replace(/^"+|"+$/g, '')];
  const fields = text.match(/(?:"(?:[^"]|"")*"|[^,"])+/g) ?? [];
  return fields.map((field) => (field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field));
}
