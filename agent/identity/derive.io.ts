import { describeError } from '../../kernel/errors.ts';
import { describeKey } from '../../kuma/dataplane.ts';
import { readersOf } from '../../program/foreign-files.ts';
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

export interface Underived {
  readonly problem: string;
  /** Who may read a file that this user may not: `kuma-dp or as root`. */
  readonly unreadable?: string | undefined;
}

/** Derives the dataplane from the wrapped command; otherwise returns the problem in words. */
export async function deriveDataplane(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  stdin: Promise<Uint8Array> | undefined,
): Promise<DerivedDataplane | Underived> {
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
    return { problem: describeError(error), unreadable: readersOfDenied(error) };
  }
}

function readersOfDenied(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  const { code, path } = (cause ?? {}) as NodeJS.ErrnoException;
  return code === 'EACCES' && path !== undefined ? readersOf(path) : undefined;
}
