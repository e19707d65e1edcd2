import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** The calls of `native/kernel-calls.c`. */
export interface KernelCalls {
  /**
   * Writes what can be written without waiting, and leaves the open file as it is.
   *
   * @param newest 0 to go without what only Linux 6.5 has
   * @returns how many bytes
   */
  writeNow(fd: number, bytes: Uint8Array, newest: 0 | 1): number;
  /** From now on `killedBy` knows the signal that ended that child. Call it right after the child's start. */
  follow(pid: number): void;
  /** @returns 0 if it lives, or has ended otherwise */
  killedBy(): number;
  /** Catches every real-time signal. @returns a pipe with a byte for each that came, its number */
  hearRealTime(): number;
  beDefault(signal: number): void;
  /** Waits for ended children that are none of `own`. @returns how many */
  reap(own: Int32Array): number;
  /** Makes this process the parent of its children's orphans, instead of PID 1. */
  adopt(): number;
  /** This process leaves no core file from now on. */
  noCore(): void;
}

let loaded: { readonly calls: KernelCalls | undefined } | undefined;

/** @returns `undefined` where Node cannot load it: from a file system mounted noexec */
export function kernelCalls(): KernelCalls | undefined {
  loaded ??= { calls: load(nativeFile('kernel-calls')) };
  return loaded.calls;
}

/** Path of a program of `native/`: beside the bundle, or in the repository when the sources run. */
export function nativeFile(name: 'exec-bytes' | 'kernel-calls'): string {
  const folder = import.meta.filename.endsWith('.ts') ? '../native/prebuilt' : '.';
  return join(import.meta.dirname, folder, `${name}-${process.arch}`);
}

/** A copy first: the kernel maps the file, and the program would crash if an installation wrote over it in place. */
function load(path: string): KernelCalls | undefined {
  return loadCopy(path, tmpdir()) ?? loadCopy(path, '/dev/shm') ?? loadFile(path);
}

/** A file without a name, so that none is left behind. @see open(2), O_TMPFILE */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** @returns `undefined` in a folder that is missing, full, read-only or mounted noexec */
function loadCopy(path: string, folder: string): KernelCalls | undefined {
  let copy: number | undefined;
  try {
    const library = readFileSync(path);
    copy = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700);
    return writeSync(copy, library) === library.length ? loadFile(`/proc/self/fd/${copy}`) : undefined;
  } catch {
    return undefined;
  } finally {
    if (copy !== undefined) closeSync(copy);
  }
}

function loadFile(path: string): KernelCalls | undefined {
  const library: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(library, path);
    return library.exports as KernelCalls;
  } catch {
    return undefined;
  }
}
