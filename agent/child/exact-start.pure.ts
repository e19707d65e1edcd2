import { shownEntry, type InheritedEnvironment, type SignalSets } from './inherited.pure.ts';

/** A process's arguments and environment, as the kernel keeps them. */
export interface StartBytes {
  /** The program first. */
  readonly args: readonly Uint8Array[];
  /** `NAME=VALUE` each, in order. */
  readonly env: readonly Uint8Array[];
}

export interface WantedStart {
  /** Path of the program. */
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: InheritedEnvironment;
  readonly signals: SignalSets;
  /** The soft limit of open files; 0 keeps the current limit. */
  readonly openFiles: bigint;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * The input of `native/exec-bytes.c`, from which it starts a program exactly as this process was asked to.
 *
 * @param own of this process
 * @param ownEnv the same environment as Node decoded it
 */
export function exactStart(wanted: WantedStart, own: StartBytes, ownEnv: InheritedEnvironment): Uint8Array {
  const args = exactArguments(wanted.argv, own.args);
  const env = exactEnvironment(wanted.env, own.env, ownEnv);
  const { ignored, blocked } = wanted.signals;
  const digits = [ignored, blocked, wanted.openFiles].map((set) =>
    encoder.encode(set.toString(16).padStart(16, '0')),
  );
  const parts = [
    ...digits,
    encoder.encode(wanted.path),
    encoder.encode(String(args.length)),
    ...args,
    ...env,
  ];
  const body = parts.flatMap((part) => [part, Uint8Array.of(0)]);
  const size = body.reduce((sum, { length }) => sum + length, 0);
  return joined([encoder.encode(`${size}\0`), ...body]);
}

/** Several arguments may decode to the same text, so they are matched in order. */
function exactArguments(argv: readonly string[], own: readonly Uint8Array[]): readonly Uint8Array[] {
  const undecodable = Map.groupBy(
    own.filter((bytes) => !same([bytes], [encoder.encode(decoder.decode(bytes))])),
    (bytes) => decoder.decode(bytes),
  );
  return argv.map((text) => undecodable.get(text)?.shift() ?? encoder.encode(text));
}

/** Unchanged variables keep their bytes and place; new or changed ones go to the end. */
function exactEnvironment(
  wanted: InheritedEnvironment,
  own: readonly Uint8Array[],
  ownEnv: InheritedEnvironment,
): readonly Uint8Array[] {
  const kept = own.flatMap((entry) => shownEntry(entry) ?? []);
  const names = new Set(kept.map(nameOf));
  // Node leaves out the variables whose name is a number or is not UTF-8.
  const isKept = (name: string): boolean =>
    !Object.hasOwn(ownEnv, name) || (Object.hasOwn(wanted, name) && wanted[name] === ownEnv[name]);
  return [
    ...kept.filter((entry) => isKept(nameOf(entry))),
    ...Object.entries(wanted)
      .filter(([name, value]) => value !== undefined && !(names.has(name) && isKept(name)))
      .map(([name, value]) => encoder.encode(`${name}=${value}`)),
  ];
}

const EQUALS = '='.charCodeAt(0);

function nameOf(entry: Uint8Array): string {
  const equals = entry.indexOf(EQUALS);
  return decoder.decode(equals === -1 ? entry : entry.subarray(0, equals));
}

function same(some: readonly Uint8Array[], others: readonly Uint8Array[]): boolean {
  return (
    some.length === others.length &&
    some.every((bytes, at) => {
      const other = others[at];
      return other?.length === bytes.length && bytes.every((byte, index) => byte === other[index]);
    })
  );
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
