import {
  DEREGISTER_OPTIONS,
  DOCTOR_OPTIONS,
  REPORT_OPTIONS,
  ROTATE_OPTIONS,
  RUN_OPTIONS,
  STATUS_OPTIONS,
} from '../../agent/options.ts';
import { ADMIN_OPTIONS, BRAKE_OPTIONS, SERVE_OPTIONS, SWEEP_OPTIONS } from '../../control-plane/options.ts';
import type { OptionTable } from '../../kernel/options.ts';
import { readCommandLine } from '../../program/command-line.ts';

type Commands = Readonly<Record<string, OptionTable>>;

const PROGRAMS: Readonly<Record<string, Commands>> = {
  'kuma-dp-agent': {
    run: RUN_OPTIONS,
    plan: RUN_OPTIONS,
    deregister: DEREGISTER_OPTIONS,
    doctor: DOCTOR_OPTIONS,
    drain: ROTATE_OPTIONS,
    resume: ROTATE_OPTIONS,
    status: STATUS_OPTIONS,
    report: REPORT_OPTIONS,
    version: {},
  },
  'kuma-deregistrar': {
    serve: SERVE_OPTIONS,
    doctor: SERVE_OPTIONS,
    status: ADMIN_OPTIONS,
    undo: ADMIN_OPTIONS,
    sweep: SWEEP_OPTIONS,
    brake: BRAKE_OPTIONS,
    version: {},
  },
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
  const table = commands[command];
  if (table === undefined) return [`${program} has no command "${command}"`];
  const { problems } = readCommandLine(
    table,
    args.filter((word) => word !== '…'),
  );
  return problems.map((problem) => `${program} ${command}: ${problem}`);
}

/** Every option of either program, without the dashes. */
export function ownFlags(): ReadonlySet<string> {
  const tables = Object.values(PROGRAMS).flatMap((commands) => Object.values(commands));
  return new Set(tables.flatMap((table) => Object.values(table).map(({ flag }) => flag)));
}
