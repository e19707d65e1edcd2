import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { readDataplaneTemplate } from './dataplane-template.io.ts';
import { deriveIdentity, type DataplaneIdentity } from './dataplane-identity.pure.ts';
import { readKumaDpCommand, type KumaDpCommand } from './kuma-dp-command.pure.ts';
import { readScriptFile } from './script-file.io.ts';

export interface DerivedDataplane {
  readonly command: KumaDpCommand;
  readonly identity: DataplaneIdentity;
  readonly label: string;
  /** Template variables that are not set. */
  readonly unset: readonly string[];
}

/** Derives the dataplane from the wrapped command; otherwise returns the problem in words. */
export async function deriveDataplane(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  stdin: Promise<Uint8Array> | undefined,
): Promise<DerivedDataplane | { readonly problem: string }> {
  const command = readKumaDpCommand(argv, env, readScriptFile);
  if (command === undefined) return { problem: 'the command after "--" does not run kuma-dp' };
  try {
    const { source, resource, unset } = await readDataplaneTemplate(command, stdin);
    const derived = deriveIdentity(command, resource);
    if ('problem' in derived) {
      return resource === undefined ? derived : { problem: `Cannot use ${source}: ${derived.problem}` };
    }
    return { command, identity: derived.identity, label: describeKey(derived.identity.key), unset };
  } catch (error) {
    return { problem: describeError(error) };
  }
}
