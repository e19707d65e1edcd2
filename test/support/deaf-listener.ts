import type { AttachListener } from '../../agent/ports.ts';

/** Hears nothing of what a companion says. */
export const DEAF: AttachListener = {
  attached: () => undefined,
  news: () => undefined,
  answered: () => undefined,
};
