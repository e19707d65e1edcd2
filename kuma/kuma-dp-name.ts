/** A pattern: kuma-dp as Kuma's archives call it, or with a version behind it, as operators do who keep several. */
export const KUMA_DP_NAME = String.raw`kuma-dp(?:[-_]v?\d[\w.+-]*)?`;

const WHOLE_NAME = new RegExp(`^${KUMA_DP_NAME}$`);

/**
 * Whether a program of this name is kuma-dp.
 *
 * @param name without its folder
 */
export function isKumaDpName(name: string): boolean {
  return WHOLE_NAME.test(name);
}
