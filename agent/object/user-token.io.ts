import { OperationalError } from '../../kernel/errors.ts';
import { tokenIn } from '../../kuma/credentials.ts';
import { readRegularFile } from '../../program/regular-file.ts';
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
      current = tokenIn(`user token file "${path}"`, await read(path));
    },
  };
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readRegularFile(path);
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read user token file "${path}"`, { cause });
  }
}
