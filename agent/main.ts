import process from 'node:process';

import { describeError, OperationalError } from '../kernel/errors.ts';
import type { OptionTable } from '../kernel/options.ts';
import { carryOut, type Actions, type Call } from '../program/commands.ts';
import { endNow, endWith } from '../program/end-process.ts';
import { printOut } from '../program/standard-output.ts';
import { boundNameLookups } from '../program/name-lookups.ts';
import { INHERITED } from './child/inherited.io.ts';
import { inheritedDescriptors } from './child/inherited-descriptors.io.ts';
import { adoptOrphans, followOwnChildren, untilNoChildIsLeft } from './child/own-children.io.ts';
import { catchSignals, numberOf } from './child/signals.io.ts';
import { leaveStandardErrorAsItIs, writeError } from './child/standard-streams.io.ts';
import { AGENT_WORDS } from './command-table.ts';
import { run } from './commands/run.ts';
import { EXIT_CONFIG, type ChildExit } from './child/exit-status.pure.ts';
import {
  resolveDeregisterOptions,
  resolveDoctorOptions,
  resolveReportOptions,
  resolveRotateOptions,
  resolveRunOptions,
  resolveStatusOptions,
  type ROTATE_OPTIONS,
} from './options.ts';

// Before anything else: a stop request during the start must not get lost.
const signals = catchSignals(INHERITED.signals);
leaveStandardErrorAsItIs();
boundNameLookups();
// Before this process opens any file.
const descriptors = INHERITED.descriptors ?? inheritedDescriptors();
followOwnChildren();
const { env } = INHERITED;

/** sysexits.h: EX_SOFTWARE. */
const EXIT_SOFTWARE = 70;
/** A process that is PID 1 of a container cannot be killed by its own signal. */
const SIGNAL_PATIENCE_MS = 200;

/** Loads each command's code only when it is called. */
const ACTIONS: Actions<typeof AGENT_WORDS.commands, ChildExit> = {
  run: {
    resolve: resolveRunOptions,
    carryOut: ({ values: options, origins, ignored, wrapped: argv = [] }) =>
      run({ options, origins, ignored, argv, env, signals, descriptors, inherited: INHERITED }),
  },
  plan: {
    resolve: resolveRunOptions,
    carryOut: async ({ values: options, ignored, wrapped: argv = [] }) => {
      const { plan } = await import('./commands/plan.ts');
      return printJudged(await plan({ options, ignored, argv, env }));
    },
  },
  doctor: {
    resolve: resolveDoctorOptions,
    carryOut: async ({ values: options, ignored, wrapped: argv }) => {
      const { doctor } = await import('./doctor/doctor.ts');
      return printJudged(await doctor({ options, ignored, argv, env }));
    },
  },
  deregister: {
    resolve: resolveDeregisterOptions,
    carryOut: async (call) => {
      sayIgnored(call);
      const { deregister } = await import('./commands/deregister.ts');
      return deregister(call, env);
    },
  },
  drain: { resolve: resolveRotateOptions, carryOut: (call) => rotateBy('drain', call) },
  resume: { resolve: resolveRotateOptions, carryOut: (call) => rotateBy('resume', call) },
  status: {
    resolve: resolveStatusOptions,
    carryOut: async (call) => {
      sayIgnored(call);
      const { status } = await import('./commands/status.ts');
      return status(call.values);
    },
  },
  report: {
    resolve: resolveReportOptions,
    carryOut: async (call) => {
      sayIgnored(call);
      const { report } = await import('./commands/report.ts');
      return report(call.values, call.word);
    },
  },
};

void main(process.argv.slice(2)).then(end, (error: unknown) => {
  return end(failed(error));
});

async function main(argv: readonly string[]): Promise<ChildExit> {
  if (argv[0] === 'run') adoptOrphans();
  else signals.release();
  return carryOut({ words: AGENT_WORDS, actions: ACTIONS, env, print, refuse }, argv);
}

async function rotateBy(command: 'drain' | 'resume', call: Call<typeof ROTATE_OPTIONS>): Promise<ChildExit> {
  sayIgnored(call);
  const { rotate } = await import('./commands/rotate.ts');
  return rotate(command, call.values);
}

function printJudged({ text, code }: { readonly text: string; readonly code: number }): ChildExit {
  print(text);
  return { code, signal: null };
}

function print(text: string): ChildExit {
  printOut(text);
  return { code: 0, signal: null };
}

function sayIgnored({ ignored }: Pick<Call<OptionTable>, 'ignored'>): void {
  for (const problem of ignored) writeError(`${problem}. The agent uses the default`);
}

function refuse(problems: readonly string[]): ChildExit {
  for (const problem of problems) writeError(problem);
  return { code: EXIT_CONFIG, signal: null };
}

/** One line: the stack is for contributors (--log-level debug). */
function failed(error: unknown): ChildExit {
  const bug = !(error instanceof OperationalError);
  writeError(`${bug ? 'Internal error, please report it: ' : ''}${describeError(error)}`);
  return { code: bug ? EXIT_SOFTWARE : EXIT_CONFIG, signal: null };
}

/** Ends as kuma-dp did: with its code, or by its signal. */
async function end(exit: ChildExit): Promise<void> {
  await untilNoChildIsLeft();
  if (exit.signal === null) {
    endWith(exit.code);
    return;
  }
  const code = 128 + numberOf(exit.signal);
  signals.dieOf(exit.signal);
  setTimeout(() => endNow(code), SIGNAL_PATIENCE_MS);
}
