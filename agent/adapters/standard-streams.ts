import process from 'node:process';

/** All of standard input; to be called once. */
export async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** One line for a person, in the way that every program of the host says it. */
export function writeError(message: string): void {
  process.stderr.write(`kuma-dp-agent: ${message}\n`);
}
