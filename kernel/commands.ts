import type { OptionTable } from './options.ts';

/** A command of a program. */
export interface Command {
  readonly options: OptionTable;
  /** The arguments after the options in the synopsis; may be empty. */
  readonly operands: string;
  /** Whether the operand is one word of ours, or the command line of another program behind `--`. */
  readonly takes: 'nothing' | 'word' | 'command' | 'command or nothing';
  /** One line: what the command does. */
  readonly says: string;
  /** A few sentences of detail. */
  readonly more: string;
  /** Arguments behind the program's name. */
  readonly example: string;
  /** Part of docs/reference/options.md, as its anchor. */
  readonly page: string;
  /** What the shell completes: files, or these words. */
  readonly completes?: 'files' | readonly string[];
}

/** By name, in the order in which a user is shown them. */
export type CommandTable = Readonly<Record<string, Command>>;

export interface ProgramWords<Commands extends CommandTable = CommandTable> {
  readonly name: string;
  /** The manual's section: 1 for users' commands, 8 for administrators'. */
  readonly section: '1' | '8';
  /** One line without a full stop that continues after the name. */
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
