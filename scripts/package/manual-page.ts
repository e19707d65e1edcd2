import { environmentName, type OptionSpec, type OptionTable } from '../../kernel/options.ts';
import { synopsis, type Command, type ProgramWords } from '../../kernel/commands.ts';
import { wrapped } from '../../kernel/wrapped-text.ts';

/** The parts of the manual that `--help` does not have. */
export interface ManualProgram extends ProgramWords {
  /** Paragraphs. */
  readonly description: readonly string[];
  /** After the commands, in this order. */
  readonly sections: readonly ManualSection[];
}

type ManualSection =
  | { readonly title: string; readonly text: readonly string[] }
  | { readonly title: string; readonly entries: readonly (readonly [term: string, text: string])[] };

/** Of the source; what roff escapes on top of it stays below 80. */
const WIDTH = 76;

/** @param dated when, in seconds since 1970, and of which version */
export function manualPage(
  program: ManualProgram,
  dated: { readonly epoch: number; readonly version: string },
): string {
  const { name, section, summary, description, commands, sections } = program;
  const date = new Date(dated.epoch * 1_000).toISOString().slice(0, 10);
  return [
    `.TH ${name.toUpperCase()} ${section} ${date} "${name} ${dated.version}" "${MANUALS[section]}"`,
    // Left-aligned and without hyphenation: options and paths stay whole.
    '.nh',
    '.ad l',
    '.SH NAME',
    `${hyphens(name)} \\- ${escape(summary)}`,
    '.SH SYNOPSIS',
    Object.entries(commands)
      .map(([command, words]) => boldened(name, command, words))
      .join('\n.br\n'),
    '.SH DESCRIPTION',
    paragraphs([...description, CONVENTIONS]),
    '.SH COMMANDS',
    ...Object.entries(commands).map(([command, words]) => manualOf(command, words, program)),
    ...sections.map(manualSection),
    '',
  ].join('\n');
}

const CONVENTIONS =
  'A flag wins over its environment variable, which stands in parentheses. Durations are written as 30s or 1m30s.';

const MANUALS = { 1: 'User Commands', 8: 'System Administration' } as const;

function boldened(program: string, name: string, words: Command): string {
  const start = `${program} ${name}`;
  return `.B ${hyphens(start)}${hyphens(escape(synopsis(program, name, words).slice(start.length)))}`;
}

function manualOf(
  name: string,
  { operands, says, more, options, example }: Command,
  program: ManualProgram,
): string {
  const same = Object.entries(program.commands).find(([, other]) => other.options === options)?.[0];
  const reference =
    same === undefined || same === name ? undefined : `.PP\nIts options are those of ${same}.`;
  return [
    `.SS ${name}${operands === '' ? '' : ` ${hyphens(escape(operands))}`}`,
    prose(says),
    prose(more),
    ...(example === name ? [] : ['.PP\nExample:', `.B ${hyphens(escape(`${program.name} ${example}`))}`]),
    reference ?? optionEntries(options, program.envPrefix),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function optionEntries(table: OptionTable, envPrefix: string): string {
  return Object.values(table)
    .map((spec) => {
      const fallback = spec.defaultText === '' ? '' : ` Default: ${spec.defaultText}.`;
      const variable = environmentName(envPrefix, spec.flag);
      return `.TP\n.B ${hyphens(escape(usage(spec)))}\n${prose(`${spec.help}.${fallback}`)}\n(${variable})`;
    })
    .join('\n');
}

function usage({ flag, placeholder, repeatable }: OptionSpec<unknown>): string {
  const value = placeholder === undefined ? '' : ` ${placeholder}`;
  return `--${flag}${value}${repeatable === true ? ' (repeatable)' : ''}`;
}

function manualSection(section: ManualSection): string {
  const body =
    'text' in section
      ? paragraphs(section.text)
      : section.entries.map(([term, text]) => `.TP\n.B ${hyphens(escape(term))}\n${prose(text)}`).join('\n');
  return `.SH ${section.title}\n${body}`;
}

function paragraphs(texts: readonly string[]): string {
  return texts.map(prose).join('\n.PP\n');
}

/** Running text: each sentence begins a new line, and no line is wider than a terminal. */
function prose(text: string): string {
  return text
    .split(/(?<=[.!?]) (?=[A-Z])/)
    .flatMap((sentence) => wrapped(sentence, WIDTH))
    .map(escape)
    .join('\n');
}

/** Escapes what roff would take for a request, and characters that some terminals lack. */
function escape(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('…', '...')
    .replace(/^(?=['.])/, '\\&');
}

/** Text to be typed keeps hyphens that can be copied; roff makes other hyphens typographic. */
function hyphens(text: string): string {
  return text.replaceAll('-', '\\-');
}
