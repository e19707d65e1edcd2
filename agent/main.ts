import os from 'node:os';
import process from 'node:process';

import { describeError, OperationalError } from '../kernel/errors.ts';
import type { OptionTable } from '../kernel/options.ts';
import { VERSION } from '../kernel/version.ts';
import { readCommandLine, type CommandLine } from '../program/command-line.ts';
import { INHERITED } from './child/inherited.io.ts';
import { inheritedDescriptors } from './child/inherited-descriptors.io.ts';
import { catchSignals } from './child/signals.io.ts';
import { leaveStandardErrorAsItIs, writeError } from './child/standard-streams.io.ts';
import { run } from './commands/run.ts';
import { EXIT_CONFIG, type ChildExit } from './child/exit-status.pure.ts';
import { optionsHelp } from '../program/options-help.ts';
import { USAGE } from './help.ts';
import {
  DEREGISTER_OPTIONS,
  DOCTOR_OPTIONS,
  ENV_PREFIX,
  REPORT_OPTIONS,
  resolveDeregisterOptions,
  resolveDoctorOptions,
  resolveReportOptions,
  resolveRotateOptions,
  resolveRunOptions,
  resolveStatusOptions,
  ROTATE_OPTIONS,
  RUN_OPTIONS,
  STATUS_OPTIONS,
} from './options.ts';

// Before anything else: a stop that is asked for while we start must not get lost.
const signals = catchSignals(INHERITED.signals);
leaveStandardErrorAsItIs();
// Before anything of ours is open.
const descriptors = inheritedDescriptors();
const { env } = INHERITED;

/** sysexits.h: EX_SOFTWARE. */
const EXIT_SOFTWARE = 70;
/** How long a clean end may take after everything is said and done. */
const END_BUDGET_MS = 1_000;
/** As PID 1 of a container a process cannot be killed by its own signal. */
const SIGNAL_PATIENCE_MS = 200;

void main(process.argv.slice(2)).then(end, (error: unknown) => {
  end(failed(error));
});

async function main([command = '', ...args]: readonly string[]): Promise<ChildExit> {
  if (command !== 'run') signals.release();
  switch (command) {
    case 'run':
      return runCommand(args);
    case 'plan':
      return planCommand(args);
    case 'doctor':
      return doctorCommand(args);
    case 'deregister':
      return deregisterCommand(args);
    case 'drain':
    case 'resume':
      return rotateCommand(command, args);
    case 'status':
      return statusCommand(args);
    case 'report':
      return reportCommand(args);
    case 'version':
    case '--version':
      return print(`kuma-dp-agent ${VERSION}\n`);
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

async function runCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(RUN_OPTIONS, args);
  if (line.wantsHelp) return print(help('run', RUN_OPTIONS));
  const { values, origins, problems, ignored } = resolveRunOptions({ flags: line.flags, env });
  const argv = line.wrapped ?? [];
  const all = [...line.problems, ...strayProblems(line), ...problems, ...wrappedProblems(line)];
  return all.length > 0
    ? refuse([...all, ...ignored])
    : run({ options: values, origins, ignored, argv, env, signals, descriptors, inherited: INHERITED });
}

async function planCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(RUN_OPTIONS, args);
  if (line.wantsHelp) return print(help('plan', RUN_OPTIONS));
  const { values, problems, ignored } = resolveRunOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line), ...problems, ...wrappedProblems(line)];
  if (all.length > 0) return refuse(all);
  const { plan } = await import('./commands/plan.ts');
  const { text, code } = await plan({ options: values, ignored, argv: line.wrapped ?? [], env });
  print(text);
  return { code, signal: null };
}

async function doctorCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(DOCTOR_OPTIONS, args);
  if (line.wantsHelp) return print(help('doctor', DOCTOR_OPTIONS));
  const { values, problems, ignored } = resolveDoctorOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line), ...problems];
  if (all.length > 0) return refuse(all);
  const { doctor } = await import('./doctor/doctor.ts');
  const { text, code } = await doctor({ options: values, ignored, argv: line.wrapped, env });
  print(text);
  return { code, signal: null };
}

async function deregisterCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(DEREGISTER_OPTIONS, args);
  if (line.wantsHelp) return print(help('deregister', DEREGISTER_OPTIONS));
  const resolved = resolveDeregisterOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line), ...resolved.problems];
  if (all.length > 0) return refuse(all);
  sayIgnored(resolved.ignored);
  const { deregister } = await import('./commands/deregister.ts');
  return deregister(resolved, env);
}

async function rotateCommand(command: 'drain' | 'resume', args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(ROTATE_OPTIONS, args);
  if (line.wantsHelp) return print(help(command, ROTATE_OPTIONS));
  const { values, problems, ignored } = resolveRotateOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line), ...problems];
  if (all.length > 0) return refuse(all);
  sayIgnored(ignored);
  const { rotate } = await import('./commands/rotate.ts');
  return rotate(command, values);
}

async function statusCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(STATUS_OPTIONS, args);
  if (line.wantsHelp) return print(help('status', STATUS_OPTIONS));
  const { values, problems, ignored } = resolveStatusOptions({ flags: line.flags, env });
  const all = [...line.problems, ...strayProblems(line), ...problems];
  if (all.length > 0) return refuse(all);
  sayIgnored(ignored);
  const { status } = await import('./commands/status.ts');
  return status(values);
}

async function reportCommand(args: readonly string[]): Promise<ChildExit> {
  const line = readCommandLine(REPORT_OPTIONS, args);
  if (line.wantsHelp) return print(help('report', REPORT_OPTIONS));
  const { values, problems, ignored } = resolveReportOptions({ flags: line.flags, env });
  const [file, ...more] = line.positionals;
  const all = [...line.problems, ...more.map((argument) => `unexpected argument "${argument}"`), ...problems];
  if (all.length > 0) return refuse(all);
  sayIgnored(ignored);
  const { report } = await import('./commands/report.ts');
  return report(values, file);
}

function wrappedProblems({ wrapped }: CommandLine): readonly string[] {
  if (wrapped === undefined) return ['no "--": the command to wrap goes after it, as in "-- kuma-dp run …"'];
  return wrapped.length === 0 ? ['no command after "--"'] : [];
}

function help(command: string, table: OptionTable): string {
  return optionsHelp({ program: 'kuma-dp-agent', command, envPrefix: ENV_PREFIX }, table);
}

/** The agent takes no arguments but options; what is left is kuma-dp's command without its `--`. */
function strayProblems({ positionals }: CommandLine): readonly string[] {
  return positionals.map(
    (argument) => `unexpected argument "${argument}": kuma-dp's command goes after "--"`,
  );
}

function print(text: string): ChildExit {
  process.stdout.write(text);
  return { code: 0, signal: null };
}

function sayIgnored(ignored: readonly string[]): void {
  for (const problem of ignored) writeError(`${problem}. The default holds`);
}

function refuse(problems: readonly string[]): ChildExit {
  for (const problem of problems) writeError(problem);
  return { code: EXIT_CONFIG, signal: null };
}

/** One line: where in our code it was is for those who change it. */
function failed(error: unknown): ChildExit {
  const bug = !(error instanceof OperationalError);
  writeError(`${bug ? 'Internal error, please report it: ' : ''}${describeError(error)}`);
  return { code: bug ? EXIT_SOFTWARE : EXIT_CONFIG, signal: null };
}

/** Ends as kuma-dp did: with its code, or by its signal. */
function end(exit: ChildExit): void {
  if (exit.signal === null) {
    process.exitCode = exit.code;
    // Everything is closed by now and the loop runs empty. Left to itself, Node then takes down the signal handlers
    // one by one, and a signal in that moment would change how we end.
    process.once('beforeExit', () => process.exit());
    // The last resort, for what we overlooked.
    setTimeout(() => process.exit(), END_BUDGET_MS).unref();
    return;
  }
  const code = 128 + os.constants.signals[exit.signal];
  signals.dieOf(exit.signal);
  setTimeout(() => process.exit(code), SIGNAL_PATIENCE_MS);
}
