/**
 * Whether a program of this name is kuma-dp: as Kuma's archives call it, or with a version behind it, as operators do who
 * keep several.
 *
 * @param name without its folder
 */
export function isKumaDpName(name: string): boolean {
  return /^kuma-dp(?:[-_]v?\d[\w.+-]*)?$/.test(name);
}
