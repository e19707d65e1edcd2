import type { OptionTable } from '../../kernel/options.ts';

/** What a user can say to a program: its manual page and its completions are generated from this. */
export interface Program {
  readonly name: string;
  /** Of the manual: 1 for what a user calls, 8 for what an administrator runs. */
  readonly section: '1' | '8';
  /** One line, without a full stop. */
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly envPrefix: string;
  readonly commands: readonly Command[];
  /** After the commands, in this order. */
  readonly sections: readonly ManualSection[];
}

export interface Command {
  readonly name: string;
  readonly table: OptionTable;
  /** What stands after the options; empty for nothing. */
  readonly operands: string;
  /** One sentence, for the manual and the completion. */
  readonly says: string;
  /** What the operand may be: files, these words, or, behind `--`, another command with its arguments. */
  readonly completes?: 'files' | 'command' | readonly string[];
}

export type ManualSection =
  | { readonly title: string; readonly text: readonly string[] }
  | { readonly title: string; readonly entries: readonly (readonly [term: string, text: string])[] };
