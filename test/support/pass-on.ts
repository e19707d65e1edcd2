import type { Socket } from 'node:net';

/** Passes bytes on in both directions. When one of the two ends, the other one ends as well. */
export function passOn(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
}
