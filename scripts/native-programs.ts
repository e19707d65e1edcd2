/**
 * The programs of `native/` that are not compiled on the user's machine: small, without a C library, one for each
 * processor. `scripts/build-native.ts` makes them.
 */
export const NATIVE_PROGRAMS = ['launch', 'exec-bytes', 'kernel-calls'] as const;
export type NativeProgram = (typeof NATIVE_PROGRAMS)[number];

/** By Node's name of the processor. */
export const COMPILERS = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' } as const;

/** @param cpu as Node calls it */
export function prebuilt(program: NativeProgram, cpu: string): string {
  return `${program}-${cpu}`;
}
