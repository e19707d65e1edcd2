import { parseArgs } from 'node:util';

import type { OptionTable } from '../kernel/options.ts';

export interface CommandLine {
  /** Values by flag, in order; a switch has the value `true` unless it was given one. */
  readonly flags: ReadonlyMap<string, readonly string[]>;
  /** Arguments that belong to no option. */
  readonly positionals: readonly string[];
  /** What follows `--`; `undefined` if there is no `--`. */
  readonly wrapped: readonly string[] | undefined;
  readonly wantsHelp: boolean;
  /** One sentence each. */
  readonly problems: readonly string[];
}

const HELP_FLAGS: ReadonlySet<string> = new Set(['help', 'h']);

/** Splits the arguments of one subcommand by its option table. It does not check values. */
export function readCommandLine(table: OptionTable, args: readonly string[]): CommandLine {
  const separator = args.indexOf('--');
  const own = separator === -1 ? args : args.slice(0, separator);
  const specs = new Map(Object.values(table).map((spec) => [spec.flag, spec]));
  const { tokens } = parseArgs({
    args: [...own],
    options: parserOptions(table),
    strict: false,
    tokens: true,
  });
  const flags = new Map<string, string[]>();
  const positionals: string[] = [];
  const problems: string[] = [];
  let wantsHelp = false;
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const spec = specs.get(token.name);
    if (HELP_FLAGS.has(token.name)) wantsHelp = true;
    else if (spec === undefined) problems.push(`unknown option ${token.rawName}`);
    else if (spec.placeholder !== undefined && token.value === undefined) {
      problems.push(`--${spec.flag}: needs a value: ${spec.placeholder}`);
    } else flags.set(spec.flag, [...(flags.get(spec.flag) ?? []), token.value ?? 'true']);
  }
  const wrapped = separator === -1 ? undefined : args.slice(separator + 1);
  return { flags, positionals, wrapped, wantsHelp, problems };
}

function parserOptions(table: OptionTable): Record<string, { type: 'boolean' | 'string'; multiple: true }> {
  return Object.fromEntries(
    Object.values(table).map(({ flag, placeholder }) => [
      flag,
      { type: placeholder === undefined ? 'boolean' : 'string', multiple: true },
    ]),
  );
}
