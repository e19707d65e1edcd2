import { acceptsConnections } from './accepts-connections.ts';
import { dataplaneCommand, type DataplaneCommand, type DataplaneOptions } from './dataplane-command.ts';
import { httpCall } from './http-call.ts';
import { ManagedProcess } from './managed-process.ts';
import { waitUntil } from './wait-until.ts';

/** A dataplane that runs: the command line and the process. */
export interface RunningDataplane extends DataplaneCommand, AsyncDisposable {
  readonly process: ManagedProcess;
}

/** Starts `kuma-dp run …` without an agent. Disposing kills it, and its Envoy with it. */
export async function startDataplane(
  options: DataplaneOptions,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningDataplane> {
  const command = await dataplaneCommand(options);
  return runCommand(command, env);
}

/** Starts a command that {@link dataplaneCommand} made, for example once more under the same name. */
export function runCommand(
  command: DataplaneCommand,
  env: Readonly<Record<string, string>> = {},
): RunningDataplane {
  const { argv } = command;
  const process = new ManagedProcess({ command: command.command, argv, env: { ...command.env, ...env } });
  return { ...command, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** Waits until an inbound answers: HTTP 200, or for TCP a connection that stays. */
export async function waitUntilServing(
  inboundPort: number,
  protocol: 'http' | 'tcp' = 'http',
): Promise<void> {
  const ask = protocol === 'http' ? answersHttp : acceptsConnections;
  await waitUntil(() => ask(inboundPort), { what: `the inbound on port ${inboundPort} to serve` });
}

/** Whether an inbound answers now with 200. */
export async function answersHttp(inboundPort: number): Promise<boolean> {
  try {
    return (await httpCall({ port: inboundPort, timeout: 2_000 })).status === 200;
  } catch {
    return false;
  }
}
