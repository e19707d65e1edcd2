import process from 'node:process';

import { describeError, OperationalError } from '../kernel/errors.ts';
import { resolveOptions, type OptionTable, type ResolvedOptions } from '../kernel/options.ts';
import { readNotifyTarget } from '../kernel/service-fields.ts';
import { printOut } from '../program/standard-output.ts';
import { carryOut, type Actions, type Sources } from '../program/commands.ts';
import { endNow, endWith } from '../program/end-process.ts';
import { boundNameLookups } from '../program/name-lookups.ts';
import { callerLines, readerOf, STANDARD_ERROR_FD } from '../program/standard-error.ts';
import { DEREGISTRAR_WORDS } from './command-table.ts';
import {
  ADMIN_OPTIONS,
  BRAKE_OPTIONS,
  ENV_PREFIX,
  resolveServeOptions,
  SWEEP_OPTIONS,
  type ServeOptions,
} from './options.ts';
import { UNDO_OPTIONS } from './undo-options.ts';

/** sysexits.h: EX_UNAVAILABLE, EX_SOFTWARE, EX_CONFIG. */
const EXIT_UNAVAILABLE = 69;
const EXIT_SOFTWARE = 70;
const EXIT_CONFIG = 78;

const { env } = process;

const ACTIONS: Actions<typeof DEREGISTRAR_WORDS.commands, number> = {
  serve: { resolve: resolveServeOptions, carryOut: ({ values }) => serveUntilStopped(values) },
  doctor: {
    resolve: resolveServeOptions,
    carryOut: async ({ values }) => {
      const { doctor } = await import('./commands/doctor.ts');
      const { text, code } = await doctor(values);
      print(text);
      return code;
    },
  },
  status: {
    resolve: by(ADMIN_OPTIONS),
    carryOut: async ({ values }) => print(await (await import('./commands/status.ts')).status(values)),
  },
  sweep: {
    resolve: by(SWEEP_OPTIONS),
    carryOut: async ({ values }) => print(await (await import('./commands/sweep.ts')).sweep(values)),
  },
  undo: {
    resolve: by(UNDO_OPTIONS),
    carryOut: async ({ values, word }) =>
      print(await (await import('./commands/undo.ts')).undo(values, word)),
  },
  brake: {
    resolve: by(BRAKE_OPTIONS),
    carryOut: async ({ values, word }) =>
      print(await (await import('./commands/brake.ts')).brake(values, word)),
  },
};

boundNameLookups();
void carryOut({ words: DEREGISTRAR_WORDS, actions: ACTIONS, env, print, refuse }, process.argv.slice(2)).then(
  endWith,
  (error: unknown) => {
    endWith(fail(error));
  },
);
process.on('uncaughtException', (error) => {
  endNow(fail(error));
});

function by<Table extends OptionTable>(table: Table): (sources: Sources) => ResolvedOptions<Table> {
  return (sources) => resolveOptions(table, { ...sources, envPrefix: ENV_PREFIX });
}

async function serveUntilStopped(options: ServeOptions): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // A second signal ends the process at once: all departures are on disk.
    process.once(signal, () => {
      stop.abort(new OperationalError('CANCELLED', `Cancelled: ${signal} asked to stop`));
    });
  }
  const { serve } = await import('./commands/serve.ts');
  await serve({ options, notify: readNotifyTarget(env, process.pid), env, stop: stop.signal });
  return 0;
}

function print(text: string): number {
  printOut(text);
  return 0;
}

/** One line; the stack of a bug only with --log-level debug. */
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
