import type { LineOutput } from './line-output.ts';

/** JSON web tokens, dataplane and user tokens among them, and what is left of one that was cut. */
const TOKEN = /\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}/g;
/** User and password of a URL. */
const CREDENTIALS = /:\/\/[^\s/@"'\\]+@/g;

/** The last place before a line is written: no part logs a secret on purpose, but errors quote what others sent. */
export function withoutSecrets(output: LineOutput): LineOutput {
  return {
    get dropped() {
      return output.dropped;
    },
    write: (line) => {
      output.write(line.replaceAll(TOKEN, '[redacted]').replaceAll(CREDENTIALS, '://[redacted]@'));
    },
  };
}
