import { systemClock } from '../kernel/clock.ts';
import type { Log, LogFormat } from '../kernel/log.ts';
import { standardErrorLines, withoutSecrets } from './line-output.ts';
import { readerOf, STANDARD_ERROR_FD } from './standard-error.ts';
import { textLog } from './text-log.ts';

export interface LogSettings {
  readonly program: string;
  readonly level: keyof Log;
  readonly format: LogFormat;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The log of a program, on its standard error. Loads only what the format needs. */
export async function openLog({ program, level, format, env }: LogSettings): Promise<Log> {
  const reader = readerOf(STANDARD_ERROR_FD, env);
  const output = withoutSecrets(standardErrorLines());
  if (format === 'json' || (format === 'auto' && reader === 'other')) {
    const { pinoLog } = await import('./pino-log.ts');
    return pinoLog(program, output, level);
  }
  const colour = reader === 'terminal' && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return textLog(output, { level, look: { reader, colour }, wallMs: () => systemClock.wallMs() });
}
