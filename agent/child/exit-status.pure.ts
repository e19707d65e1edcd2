/** As glibc counts them: Node has no names for them. */
type RealTimeSignal = `SIGRTMIN+${number}`;
export type SignalName = NodeJS.Signals | RealTimeSignal;

/** How a process ended, as the kernel told its parent. */
export type ChildExit =
  | { readonly code: number; readonly signal: null }
  | { readonly code: null; readonly signal: SignalName };

const REAL_TIME_MIN = 34;

export function realTimeSignal(number: number): RealTimeSignal {
  return `SIGRTMIN+${number - REAL_TIME_MIN}`;
}

/** @returns `undefined` for a signal that has a name of its own */
export function realTimeNumber(signal: SignalName): number | undefined {
  const [, offset] = signal.split('+');
  return offset === undefined ? undefined : REAL_TIME_MIN + Number(offset);
}

/** sysexits.h EX_CONFIG: the agent's own options are wrong; systemd need not restart it. */
export const EXIT_CONFIG = 78;
/** sysexits.h EX_NOPERM: the started program runs as another user and could not be ended. */
export const EXIT_NO_PERMISSION = 77;
/** POSIX shell: the command was found but cannot be executed. */
export const EXIT_CANNOT_EXECUTE = 126;
/** POSIX shell: the command was not found. */
export const EXIT_NOT_FOUND = 127;

export function describeExit(exit: ChildExit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}

/** Exit status for a process that the agent may not signal. */
export function describeDenial(pid: number): string {
  return `Cannot signal kuma-dp (pid ${pid}): it runs as another user. It keeps running when the agent ends. Run the agent as root or as the user of kuma-dp`;
}
