import type { Log } from '../../kernel/log.ts';
import { openLog } from '../../program/open-log.ts';
import type { ConnectionOptions } from '../options.ts';

export function agentLog(
  { logLevel: level, logFormat: format }: Pick<ConnectionOptions, 'logLevel' | 'logFormat'>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Log> {
  return openLog({ program: 'kuma-dp-agent', level, format, env });
}
