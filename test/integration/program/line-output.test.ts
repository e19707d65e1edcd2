import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const WRITER = join(import.meta.dirname, '../../support/blocked-writer.ts');

test('a socket without a reader delays no writer, although another program made it blocking again', async () => {
  // Node's pipes are sockets, as journald's stream is one. No process reads the second one.
  const child = spawn(process.execPath, [WRITER], { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  expect({ code, signal, said }).toEqual({ code: 0, signal: null, said: 'true' });
});
