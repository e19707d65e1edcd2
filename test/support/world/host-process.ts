import type { NetworkHost } from '../namespaces.ts';
import { ManagedProcess } from './managed-process.ts';

/** A process of a network host. */
export function runOn(
  host: NetworkHost,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ManagedProcess {
  const [program = '', ...argv] = [...host.prefix, ...command];
  return new ManagedProcess({ command: program, argv, env });
}
