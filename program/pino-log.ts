import { pino } from 'pino';

import type { Log, LogFields } from '../kernel/log.ts';
import type { LineOutput } from './line-output.ts';

/** JSON lines, each written before the call returns. */
export function pinoLog(program: string, output: LineOutput, level: string): Log {
  const serializers = { err: level === 'debug' ? pino.stdSerializers.err : withoutStack };
  const logger = pino(
    { level, base: { program }, timestamp: pino.stdTimeFunctions.isoTime, serializers },
    output,
  );
  const write =
    (at: 'error' | 'warn' | 'info' | 'debug') =>
    (event: string, message: string, fields: LogFields = {}): void => {
      logger[at]({ event, ...fields }, message);
    };
  return { error: write('error'), warn: write('warn'), info: write('info'), debug: write('debug') };
}

/** Stacks are for contributors. */
function withoutStack(err: unknown): unknown {
  if (!(err instanceof Error)) return err;
  const { stack: _stack, ...rest } = pino.stdSerializers.err(err);
  return rest;
}
