import type { LineOutput } from './line-output.ts';

/** JSON web tokens, dataplane and user tokens among them, and what is left of one that was cut. */
const TOKEN = /\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}/g;
/** User and password of a URL; a password may have a slash that should have been encoded. */
const CREDENTIALS = /:\/\/[^\s"'\\]+@/g;
/** Tokens in a query. */
const NAMED = /([?&#][\w-]*(?:token|secret|passw|key)[\w-]*=)[^\s&"'\\]+/gi;

/** The last place before a line is written: no part logs a secret on purpose, but errors quote what others sent. */
export function withoutSecrets(output: LineOutput): LineOutput {
  return {
    get dropped() {
      return output.dropped;
    },
    write: (line) => {
      output.write(withoutSecretsIn(line));
    },
  };
}

export function withoutSecretsIn(text: string): string {
  return text
    .replaceAll(TOKEN, '[redacted]')
    .replaceAll(CREDENTIALS, '://[redacted]@')
    .replaceAll(NAMED, '$1[redacted]');
}
