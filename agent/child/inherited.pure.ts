/**
 * What the launcher (`native/launch.c`) hands over in the environment: the variables that it hid from Node, and what
 * Node changes as it starts.
 */

/** The launcher clears it in the first byte of a name that it hides. */
const HIDING_BIT = 0x40;
const STARTED_WITH = '\u0001STARTED_WITH';

export type InheritedEnvironment = Readonly<Record<string, string | undefined>>;

/** Bit n - 1 stands for signal n, as in /proc/PID/status. */
export interface SignalSets {
  readonly ignored: bigint;
  readonly blocked: bigint;
}

export interface Inherited {
  /** As the launcher's caller set it. */
  readonly env: InheritedEnvironment;
  readonly signals: SignalSets;
  /** The soft limit of open files; 0 if it is not known. Node raises its own. */
  readonly openFiles: bigint;
  /** Open files beside the standard ones; `undefined` without the launcher. */
  readonly descriptors: readonly number[] | undefined;
}

export const NO_SIGNALS: SignalSets = { ignored: 0n, blocked: 0n };

/** @param env of this process */
export function inheritedOf(env: InheritedEnvironment): Inherited {
  const entries = Object.entries(env);
  const [ignored, blocked, openFiles, descriptors] = (env[STARTED_WITH] ?? '').split(',');
  return {
    env: Object.fromEntries(
      entries.flatMap(([name, value]) => (name === STARTED_WITH ? [] : [[shownName(name), value]])),
    ),
    signals: { ignored: hexadecimal(ignored), blocked: hexadecimal(blocked) },
    openFiles: hexadecimal(openFiles),
    descriptors: descriptors?.split(' ').filter(Boolean).map(Number),
  };
}

function hexadecimal(digits = ''): bigint {
  return BigInt(`0x${digits === '' ? '0' : digits}`);
}

function shownName(name: string): string {
  const first = name.charCodeAt(0);
  return name === '' || first >= 0x20 ? name : `${String.fromCharCode(first | HIDING_BIT)}${name.slice(1)}`;
}

/** The same for `NAME=VALUE` as the kernel keeps it. @returns `undefined` for what the launcher added */
export function shownEntry(entry: Uint8Array): Uint8Array | undefined {
  const [first = 0x20] = entry;
  if (first >= 0x20) return entry;
  if (first === STARTED_WITH.charCodeAt(0)) return undefined;
  const shown = Uint8Array.from(entry);
  shown[0] = first | HIDING_BIT;
  return shown;
}
