import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** V8 has it for embedders that know when they are idle; Node does not call it. */
type Collect = (how: { readonly type: 'major'; readonly flavor: 'last-resort' }) => void;

/**
 * Frees the memory that the start has left: V8 keeps it while little is allocated, so for good. Saves 2.4 MB of an idle
 * agent, for one pause of 40 ms. Does nothing if V8 lacks the function.
 */
export function returnUnusedMemory(): void {
  setFlagsFromString('--expose-gc');
  try {
    const collect = runInNewContext('globalThis.gc') as Collect | undefined;
    collect?.({ type: 'major', flavor: 'last-resort' });
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
