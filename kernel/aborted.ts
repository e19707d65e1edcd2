/** A call, since the compiler takes a property for unchanged across an await. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
