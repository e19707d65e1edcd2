/** How a process ended, as the kernel told its parent. */
export type ChildExit =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: NodeJS.Signals };

/** sysexits.h EX_CONFIG: the agent's own options are wrong; systemd need not restart it. */
export const EXIT_CONFIG = 78;
/** POSIX shell: the command was found but cannot be executed. */
export const EXIT_CANNOT_EXECUTE = 126;
/** POSIX shell: the command was not found. */
export const EXIT_NOT_FOUND = 127;

export function describeExit(exit: ChildExit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
