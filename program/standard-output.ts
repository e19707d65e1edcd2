import process from 'node:process';

import { withoutSecretsIn } from './redaction.ts';

/** The answer of a command. It quotes settings and errors, as the log does. */
export function printOut(text: string): void {
  process.stdout.write(withoutSecretsIn(text));
}
