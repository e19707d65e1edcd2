import process from 'node:process';

import { describeError, OperationalError } from '../kernel/errors.ts';
import { resolveOptions, type OptionTable, type OptionValues } from '../kernel/options.ts';
import { readNotifyTarget } from '../kernel/service-fields.ts';
import { VERSION } from '../kernel/version.ts';
import { readCommandLine, type CommandLine } from '../program/command-line.ts';
import { optionsHelp } from '../program/options-help.ts';
import { callerLines, readerOf, STANDARD_ERROR_FD } from '../program/standard-error.ts';
import { USAGE } from './help.ts';
import {
  ADMIN_OPTIONS,
  BRAKE_OPTIONS,
  ENV_PREFIX,
  resolveServeOptions,
  SERVE_OPTIONS,
  SWEEP_OPTIONS,
} from './options.ts';

/** sysexits.h: EX_UNAVAILABLE, EX_SOFTWARE, EX_CONFIG. */
const EXIT_UNAVAILABLE = 69;
const EXIT_SOFTWARE = 70;
const EXIT_CONFIG = 78;

const { env } = process;

void main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.exitCode = fail(error);
  },
);
process.on('uncaughtException', (error) => {
  process.exit(fail(error));
});

async function main([command = '', ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case 'serve':
      return serveCommand(args);
    case 'doctor':
      return doctorCommand(args);
    case 'status':
      return adminCommand({ command: 'status', table: ADMIN_OPTIONS, args }, async (options) =>
        (await import('./commands/status.ts')).status(options),
      );
    case 'sweep':
      return adminCommand({ command: 'sweep', table: SWEEP_OPTIONS, args }, async (options) =>
        (await import('./commands/sweep.ts')).sweep(options),
      );
    case 'undo':
      return adminCommand({ command: 'undo', table: ADMIN_OPTIONS, args }, async (options, operands) =>
        (await import('./commands/undo.ts')).undo(options, operands),
      );
    case 'brake':
      return adminCommand({ command: 'brake', table: BRAKE_OPTIONS, args }, async (options, operands) =>
        (await import('./commands/brake.ts')).brake(options, operands),
      );
    case 'version':
    case '--version':
      return print(`kuma-deregistrar ${VERSION}\n`);
    case 'help':
    case '--help':
    case '-h':
      return print(USAGE);
    default:
      return refuse([
        command === '' ? 'no command given' : `unknown command "${command}"`,
        USAGE.split('\n\n')[1] ?? '',
      ]);
  }
}

async function serveCommand(args: readonly string[]): Promise<number> {
  const line = readCommandLine(SERVE_OPTIONS, args);
  if (line.wantsHelp) return help('serve', SERVE_OPTIONS);
  const { values, problems } = resolveServeOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line.positionals), ...problems];
  if (all.length > 0) return refuse(all, EXIT_CONFIG);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // A second one ends us at once: everything that matters is on disk.
    process.once(signal, () => {
      stop.abort(new OperationalError('CANCELLED', `Asked to stop: ${signal}`));
    });
  }
  const { serve } = await import('./commands/serve.ts');
  await serve({
    options: values,
    notify: readNotifyTarget(env, process.pid),
    env,
    stop: stop.signal,
  });
  return 0;
}

async function doctorCommand(args: readonly string[]): Promise<number> {
  const line = readCommandLine(SERVE_OPTIONS, args);
  if (line.wantsHelp) return help('doctor', SERVE_OPTIONS);
  const { values, problems } = resolveServeOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line.positionals), ...problems];
  if (all.length > 0) return refuse(all, EXIT_CONFIG);
  const { doctor } = await import('./commands/doctor.ts');
  const { text, code } = await doctor(values);
  print(text);
  return code;
}

interface AdminCommand<Table> {
  readonly command: string;
  readonly table: Table;
  readonly args: readonly string[];
}

async function adminCommand<Table extends OptionTable>(
  { command, table, args }: AdminCommand<Table>,
  run: (options: OptionValues<Table>, operands: readonly string[]) => Promise<string>,
): Promise<number> {
  const line: CommandLine = readCommandLine(table, args);
  if (line.wantsHelp) return help(command, table);
  const { values, problems } = resolveOptions(table, { flags: line.flags, env, envPrefix: ENV_PREFIX });
  const takesOperands = command === 'undo' || command === 'brake';
  const all = [...line.problems, ...(takesOperands ? [] : strayProblems(line.positionals)), ...problems];
  if (all.length > 0) return refuse(all, EXIT_CONFIG);
  return print(await run(values, line.positionals));
}

function strayProblems(positionals: readonly string[]): readonly string[] {
  return positionals.map((argument) => `unexpected argument "${argument}"`);
}

function help(command: string, table: OptionTable): number {
  return print(optionsHelp({ program: 'kuma-deregistrar', command, envPrefix: ENV_PREFIX }, table));
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

/** One line; of a bug, where it was only to those who ask for it. */
function fail(error: unknown): number {
  if (error instanceof OperationalError) {
    return refuse([error.message], error.code === 'CONFIG_INVALID' ? EXIT_CONFIG : EXIT_UNAVAILABLE);
  }
  const debugs =
    env[`${ENV_PREFIX}LOG_LEVEL`] === 'debug' || process.argv.join(' ').includes('log-level=debug');
  const detail = debugs && error instanceof Error ? (error.stack ?? '') : describeError(error);
  return refuse(
    [`Internal error, please report it (--log-level=debug shows where): ${detail}`],
    EXIT_SOFTWARE,
  );
}

function refuse(problems: readonly string[], code = EXIT_CONFIG): number {
  const reader = readerOf(STANDARD_ERROR_FD, env);
  for (const problem of problems) {
    process.stderr.write(callerLines(problem, { program: 'kuma-deregistrar', level: 'error', reader }));
  }
  return code;
}
