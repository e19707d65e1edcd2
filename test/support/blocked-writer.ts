/** Writes far more lines to its standard error than a socket holds, after another process has made that blocking again. */
import { Socket } from 'node:net';

import { lineOutput } from '../../program/line-output.ts';

const output = lineOutput(2);
const { _handle: handle } = new Socket({ fd: 2, readable: false, writable: true }) as Socket & {
  readonly _handle: { setBlocking(blocking: boolean): void };
};
handle.setBlocking(true);
for (let line = 0; line < 4_000; line += 1) output.write(`${'x'.repeat(1_000)}\n`);
process.stdout.write(String(output.dropped > 0));
process.exit(0);
