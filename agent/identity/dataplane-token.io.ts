import { OperationalError } from '../../kernel/errors.ts';
import { readRegularFile } from '../../program/regular-file.ts';
import type { Token } from '../ports.ts';

/** The source of kuma-dp's dataplane token: `inline` wins, as in kuma-dp. With neither there is no token. */
export interface DataplaneTokenSource {
  readonly file: string | undefined;
  readonly inline: string | undefined;
}

/**
 * Characters that gRPC accepts in metadata: it refuses others, and quotes the value in its message. A JSON web token has
 * fewer.
 */
const PRINTABLE = /^[\x20-\x7e]+$/;

/** @see kuma 2.14.3: app/kuma-dp/cmd/run.go: a token given inline is used in place of the file */
export function dataplaneToken({ file, inline }: DataplaneTokenSource): Token {
  const fixed = inline?.trim();
  let current = fixed === undefined || !PRINTABLE.test(fixed) ? undefined : fixed;
  return {
    get current() {
      return current;
    },
    async refresh() {
      if (fixed !== undefined) requireToken('the inline dataplane token', fixed);
      else if (file !== undefined) current = await readToken(file);
    },
  };
}

async function readToken(path: string): Promise<string> {
  let text: string;
  try {
    text = (await readRegularFile(path)).toString('utf8').trim();
  } catch (cause) {
    throw new OperationalError('CONFIG_INVALID', `Cannot read dataplane token file "${path}"`, { cause });
  }
  requireToken(`dataplane token file "${path}"`, text);
  return text;
}

function requireToken(source: string, text: string): void {
  if (PRINTABLE.test(text)) return;
  throw new OperationalError('CONFIG_INVALID', `Cannot use ${source}: this is not a token`);
}
