import { readFile } from 'node:fs/promises';

import { OperationalError } from '../../kernel/errors.ts';
import type { Token } from '../ports.ts';

/** @param path `undefined`: requests are anonymous */
export function userToken(path: string | undefined): Token {
  let current: string | undefined;
  return {
    get current() {
      return current;
    },
    async refresh() {
      if (path === undefined) return;
      try {
        current = (await readFile(path, 'utf8')).trim();
      } catch (cause) {
        throw new OperationalError('CONFIG_INVALID', `Cannot read user token file "${path}"`, { cause });
      }
    },
  };
}
