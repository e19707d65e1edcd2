import { synopsis, type Command, type ProgramWords } from '../kernel/commands.ts';
import { environmentName, type OptionSpec } from '../kernel/options.ts';
import { wrapped } from '../kernel/wrapped-text.ts';

const PLAIN_WIDTH = 80;
/** The narrowest width for help texts. */
const LEAST_WIDTH = 40;

/**
 * The width of help texts: the terminal's, or without a terminal what `COLUMNS` says.
 *
 * @param columns of the terminal; `undefined` or 0 where none is known
 */
export function helpWidth(
  columns: number | undefined,
  env: Readonly<Record<string, string | undefined>>,
): number {
  const told = [columns ?? 0, Number(env['COLUMNS'] ?? '')].find(
    (width) => Number.isInteger(width) && width > 0,
  );
  return Math.max(LEAST_WIDTH, told ?? PLAIN_WIDTH);
}

/** `--help` of the program: each command in a sentence. */
export function programHelp({ name, summary, commands }: ProgramWords, width: number): string {
  const each = Object.entries(commands).flatMap(([command, words]) => [
    ...hanging(synopsis(name, command, words), width, '  '),
    ...wrapped(words.says, width, '      '),
  ]);
  return lines([
    ...wrapped(`${name} ${summary}.`, width),
    '',
    'Usage:',
    ...each,
    '',
    ...wrapped(`Options of a command: ${name} COMMAND --help`, width),
  ]);
}

/** `--help` of one command: what it does, how it is called, an example, its options, where there is more. */
export function commandHelp(
  { name, section, envPrefix, commands }: ProgramWords,
  command: string,
  width: number,
): string {
  const words = commands[command];
  if (words === undefined) throw new Error(`${name} has no command ${command}`);
  const options = Object.values(words.options);
  return lines([
    ...wrapped(words.says, width),
    ...(words.more === '' ? [] : wrapped(words.more, width)),
    '',
    'Usage:',
    ...hanging(synopsis(name, command, words), width, '  '),
    '',
    'Example:',
    ...example(name, words, width),
    '',
    ...(options.length === 0
      ? []
      : ['Options:', ...options.flatMap((spec) => optionHelp(spec, envPrefix, width)), '']),
    ...(options.length === 0 ? [] : wrapped('A flag wins over its environment variable.', width)),
    ...wrapped(`More: ${name}(${section}); docs/reference/options.md#${words.page}`, width),
  ]);
}

function optionHelp(spec: OptionSpec<unknown>, envPrefix: string, width: number): readonly string[] {
  const flag = spec.placeholder === undefined ? `--${spec.flag}` : `--${spec.flag} ${spec.placeholder}`;
  const fallback = spec.defaultText === '' ? '' : ` [default: ${spec.defaultText}]`;
  const variable = environmentName(envPrefix, spec.flag);
  return [
    ...hanging(flag, width, '  '),
    ...wrapped(`${spec.help}${fallback} (${variable})`, width, '      '),
  ];
}

/** The line breaks keep it one command for a shell. */
function example(name: string, { example: args }: Command, width: number): readonly string[] {
  const [first = '', ...rest] = wrapped(`${name} ${args}`, width - 4, '  ');
  return [first, ...rest.map((line) => `  ${line}`)].map((line, at, all) =>
    at === all.length - 1 ? line : `${line} \\`,
  );
}

/** The first line at the margin, the others further in than a text below it. */
function hanging(text: string, width: number, margin: string): readonly string[] {
  const [first = '', ...rest] = wrapped(text, width, margin);
  return rest.length === 0
    ? [first]
    : [first, ...wrapped(rest.map((line) => line.trim()).join(' '), width, `${margin}        `)];
}

function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`;
}
