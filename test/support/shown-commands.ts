import { AGENT_WORDS } from '../../agent/command-table.ts';
import { DEREGISTRAR_WORDS } from '../../control-plane/command-table.ts';
import type { CommandTable } from '../../kernel/commands.ts';
import { readCommandLine } from '../../program/command-line.ts';

const PROGRAMS: Readonly<Record<string, CommandTable>> = {
  'kuma-dp-agent': AGENT_WORDS.commands,
  'kuma-deregistrar': DEREGISTRAR_WORDS.commands,
};

/** A command line of ours as a document shows it: `kuma-dp-agent drain --wait`. */
const SHOWN = /(?:^|[\s=/-])(kuma-dp-agent|kuma-deregistrar)((?: +[^\s#;&|]+)+)/;

/**
 * What is wrong with the command of ours in a line of code: an unknown command, an unknown option, or one without its
 * value. Nothing if there is none, or if the program's name is not followed by a command: a path, a line of its log.
 */
export function problemsOfShown(line: string): readonly string[] {
  const [, program = '', rest = ''] = SHOWN.exec(line) ?? [];
  const [command = '', ...args] = rest.trim().split(/ +/);
  const commands = PROGRAMS[program];
  if (commands === undefined || !/^[a-z]+$/.test(command)) return [];
  const words = commands[command];
  if (words === undefined) return [`${program} has no command "${command}"`];
  const { problems } = readCommandLine(
    words.options,
    args.filter((word) => word !== '…'),
  );
  return problems.map((problem) => `${program} ${command}: ${problem}`);
}

/** Every option of either program, without the dashes. */
export function ownFlags(): ReadonlySet<string> {
  const tables = Object.values(PROGRAMS).flatMap((commands) => Object.values(commands));
  return new Set(tables.flatMap(({ options }) => Object.values(options).map(({ flag }) => flag)));
}
