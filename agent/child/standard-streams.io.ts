import { Writable } from 'node:stream';
import process from 'node:process';

import { standardErrorLines } from '../../program/line-output.ts';
import { callerLines, readerOf, STANDARD_ERROR_FD } from '../../program/standard-error.ts';

/**
 * The first use of `process.stderr`, Node's own uses included, makes a pipe behind it non-blocking for every process
 * that shares it. kuma-dp and Envoy would then lose lines when the reader is slow. This replaces it and changes
 * nothing.
 *
 * @see https://nodejs.org/docs/latest-v24.x/api/process.html#a-note-on-process-io
 */
export function leaveStandardErrorAsItIs(): void {
  const stderr = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      standardErrorLines().write(text);
      done();
    },
  });
  Object.defineProperty(process, 'stderr', { configurable: true, value: stderr });
}

/** Writes one line for people, prefixed with the program's name. */
export function writeError(message: string): void {
  writeLines(message, 'error');
}

/** The same for a message that is not a failure. */
export function writeNotice(message: string): void {
  writeLines(message, 'info');
}

function writeLines(message: string, level: 'error' | 'info'): void {
  const reader = readerOf(STANDARD_ERROR_FD, process.env);
  standardErrorLines().write(callerLines(message, { program: 'kuma-dp-agent', level, reader }));
}

/** Reads all of standard input. Call it once. */
export async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
