/** `ms`, give or take a quarter, so that a fleet that began together does not go on together. @param random in [0, 1) */
export function spread(ms: number, random: number): number {
  return ms * (0.75 + random / 2);
}
