/** A function, because the compiler assumes that a property does not change across an await. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Calls `act` as soon as `signal` aborts: at once where it has aborted already. */
export function whenAborted(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener('abort', act, { once: true });
}
