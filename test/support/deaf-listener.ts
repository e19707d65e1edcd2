import type { AttachListener } from '../../agent/ports.ts';

/** Ignores everything that a companion sends. */
export const DEAF: AttachListener = {
  attached: () => undefined,
  news: () => undefined,
  answered: () => undefined,
};
