import process from 'node:process';

import type { Command, CommandTable, ProgramWords } from '../kernel/commands.ts';
import type { OptionTable, ResolvedOptions } from '../kernel/options.ts';
import { VERSION } from '../kernel/version.ts';
import { readCommandLine, type CommandLine } from './command-line.ts';
import { commandHelp, helpWidth, programHelp } from './help.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The sources of a command's options. */
export interface Sources {
  readonly flags: CommandLine['flags'];
  readonly env: Env;
}

/** A command line without a problem. */
export interface Call<Table extends OptionTable> extends ResolvedOptions<Table> {
  readonly word: string | undefined;
  /** The command behind `--`; `undefined` if there is none. */
  readonly wrapped: readonly string[] | undefined;
}

export interface Action<Table extends OptionTable, Answer> {
  resolve(sources: Sources): ResolvedOptions<Table>;
  carryOut(call: Call<Table>): Promise<Answer> | Answer;
}

/** One handler for each command but `version`. */
export type Actions<Commands extends CommandTable, Answer> = {
  readonly [Name in Exclude<keyof Commands, 'version'>]: Action<Commands[Name]['options'], Answer>;
};

export interface Program<Commands extends CommandTable, Answer> {
  readonly words: ProgramWords<Commands>;
  readonly actions: Actions<Commands, Answer>;
  readonly env: Env;
  print(text: string): Answer;
  /** @param problems one sentence each */
  refuse(problems: readonly string[]): Answer;
}

const HELP: ReadonlySet<string> = new Set(['help', '--help', '-h']);

/** Reads the command line by the program's table and runs the command, or reports what is wrong. */
export async function carryOut<Commands extends CommandTable, Answer>(
  program: Program<Commands, Answer>,
  argv: readonly string[],
): Promise<Answer> {
  const { words, env } = program;
  const [given = '', ...args] = argv;
  const width = helpWidth(process.stdout.columns, env);
  const [name, ofCommand] = HELP.has(given)
    ? [args[0], []]
    : [given === '--version' ? 'version' : given, args];
  if (name === undefined) return program.print(programHelp(words, width));
  const command = Object.hasOwn(words.commands, name) ? words.commands[name] : undefined;
  if (command === undefined) return program.refuse(unknownCommand(words, name));
  const line = readCommandLine(command.options, ofCommand);
  if (HELP.has(given) || line.wantsHelp) return program.print(commandHelp(words, name, width));
  const wrong = [...line.problems, ...operandProblems(command, line)];
  const actions: Readonly<Record<string, Action<OptionTable, Answer>>> = program.actions;
  const action = actions[name];
  if (action !== undefined) return answer(program, action, { line, wrong });
  return wrong.length > 0 ? program.refuse(wrong) : program.print(`${words.name} ${VERSION}\n`);
}

async function answer<Answer>(
  { env, refuse }: Pick<Program<CommandTable, Answer>, 'env' | 'refuse'>,
  action: Action<OptionTable, Answer>,
  { line, wrong }: { readonly line: CommandLine; readonly wrong: readonly string[] },
): Promise<Answer> {
  const resolved = action.resolve({ flags: line.flags, env });
  const problems = [...wrong, ...resolved.problems];
  if (problems.length > 0) return refuse([...problems, ...resolved.ignored]);
  return action.carryOut({ ...resolved, word: line.positionals[0], wrapped: line.wrapped });
}

function unknownCommand({ name, commands }: ProgramWords, wanted: string): readonly string[] {
  return [
    wanted === '' ? 'no command given' : `unknown command "${wanted}"`,
    `the commands are ${Object.keys(commands).join(', ')}; "${name} --help" explains them`,
  ];
}

function operandProblems({ takes }: Command, { positionals, wrapped }: CommandLine): readonly string[] {
  const wraps = takes === 'command' || takes === 'command or nothing';
  const hint = wraps ? ': kuma-dp\'s command goes after "--"' : '';
  const stray = positionals
    .slice(takes === 'word' ? 1 : 0)
    .map((word) => `unexpected argument "${word}"${hint}`);
  if (!wraps)
    return wrapped === undefined ? stray : [...stray, 'unexpected "--": it takes no command to wrap'];
  if (wrapped === undefined) {
    return takes === 'command'
      ? [...stray, 'no "--": the command to wrap goes after it, as in "-- kuma-dp run …"']
      : stray;
  }
  return wrapped.length === 0 ? [...stray, 'no command after "--"'] : stray;
}
