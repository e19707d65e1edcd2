import type { OptionTable } from './options.ts';

/**
 * One thing that a user can tell a program to do. The command line, `--help`, the manual page and the completions of
 * every shell come from tables of these.
 */
export interface Command {
  readonly options: OptionTable;
  /** What stands after the options, as the synopsis shows it; empty for nothing. */
  readonly operands: string;
  /** Whether the operand is one word of ours, or the command line of another program behind `--`. */
  readonly takes: 'nothing' | 'word' | 'command' | 'command or nothing';
  /** One sentence that fits on one line: what it does. */
  readonly says: string;
  /** What else a caller has to know, in a few sentences. */
  readonly more: string;
  /** Arguments behind the program's name. */
  readonly example: string;
  /** Part of docs/reference/options.md, as its anchor. */
  readonly page: string;
  /** What a shell proposes for the word: files, or these. */
  readonly completes?: 'files' | readonly string[];
}

/** By name, in the order in which a user is shown them. */
export type CommandTable = Readonly<Record<string, Command>>;

export interface ProgramWords<Commands extends CommandTable = CommandTable> {
  readonly name: string;
  /** Of the manual: 1 for what a user calls, 8 for what an administrator runs. */
  readonly section: '1' | '8';
  /** One line, without a full stop, that goes on from the name. */
  readonly summary: string;
  readonly envPrefix: string;
  readonly commands: Commands;
}

/** Every program has it. */
export function versionCommand(page: string) {
  return {
    options: {},
    operands: '',
    takes: 'nothing',
    says: 'Prints the version.',
    more: '',
    example: 'version',
    page,
  } as const satisfies Command;
}

/** `kuma-dp-agent report [options] [FILE]` */
export function synopsis(program: string, name: string, { options, operands }: Command): string {
  const some = Object.keys(options).length === 0 ? '' : ' [options]';
  return `${program} ${name}${some}${operands === '' ? '' : ` ${operands}`}`;
}
