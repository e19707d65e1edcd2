import { lstatSync, mkdirSync, unlinkSync, type Stats } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import process from 'node:process';

import type { Clock } from '../../kernel/clock.ts';
import { describeError, hasCode, OperationalError } from '../../kernel/errors.ts';
import { listenOn } from '../../program/listener.ts';
import {
  MAX_LINE_BYTES,
  readAnswer,
  readRequest,
  socketPathProblem,
  type ControlAnswer,
  type ControlRequest,
} from './control-protocol.pure.ts';

export interface ControlSocketOptions {
  readonly clock: Clock;
  readonly path: string;
  /** Never rejects. `gone` aborts when the caller has hung up. */
  readonly answer: (request: ControlRequest, gone: AbortSignal) => Promise<ControlAnswer>;
}

/** How long a caller may take to send its request. */
const REQUEST_BUDGET_MS = 2_000;
const MAX_CONNECTIONS = 16;
const OWNER_ONLY = 0o600;

export interface ControlSocket {
  close(): void;
}

/**
 * Listens on the control socket of this agent, and replaces the socket of a dead agent.
 *
 * @throws `CONTROL_UNAVAILABLE` if the path is too long, or not a socket of ours, or a living agent's
 */
export async function openControlSocket(options: ControlSocketOptions): Promise<ControlSocket> {
  const { path } = options;
  const problem = socketPathProblem(path);
  if (problem !== undefined) throw unavailable(problem);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    requireNotForeign(path);
    const server = createServer({ allowHalfOpen: true }, (socket) => void serve(socket, options));
    server.maxConnections = MAX_CONNECTIONS;
    await listenOn(server, { kind: 'unix', path, mode: OWNER_ONLY });
    return socketOf(server, path);
  } catch (cause) {
    if (hasCode(cause, 'CONTROL_UNAVAILABLE')) throw cause;
    throw unavailable(`cannot create its socket: ${describeError(cause)}`, cause);
  }
}

function socketOf(server: Server, path: string): ControlSocket {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const own = lstatSync(path).ino;
  server.on('error', () => {});
  return {
    close: () => {
      // The socket may belong to a successor by now.
      if (statOf(path)?.ino === own) unlinkQuietly(path);
      server.close();
      for (const socket of sockets) socket.destroySoon();
      server.unref();
    },
  };
}

/** Whether {@link listenOn} would replace this file once no process listens on it. */
function requireNotForeign(path: string): void {
  const found = statOf(path);
  if (found !== undefined && found.uid !== process.geteuid?.())
    throw unavailable(`its socket belongs to another user (uid ${found.uid}): ${path}`);
}

async function serve(socket: Socket, { clock, answer }: ControlSocketOptions): Promise<void> {
  const gone = new AbortController();
  socket.on('error', () => {});
  socket.once('close', () => {
    gone.abort(new Error('The caller has hung up'));
  });
  const line = await readLine(socket, clock, REQUEST_BUDGET_MS);
  if (line === undefined) {
    socket.destroy();
    return;
  }
  const request = readRequest(line);
  const said: ControlAnswer =
    typeof request === 'string'
      ? { v: 1, answer: 'invalid', detail: request }
      : await answer(request, gone.signal);
  socket.end(`${JSON.stringify(said)}\n`, () => {
    socket.destroy();
  });
}

/** @returns `undefined` if there was no line in time, or too long a one */
function readLine(socket: Socket, clock: Clock, budgetMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const settle = (line: string | undefined): void => {
      disarm();
      socket.off('data', onData);
      socket.resume();
      resolve(line);
    };
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\n');
      if (end !== -1) settle(Buffer.from(text.slice(0, end), 'latin1').toString());
      else if (text.length > MAX_LINE_BYTES * 16) settle(undefined);
    };
    const disarm = clock.after(budgetMs, () => {
      settle(undefined);
    });
    socket.on('data', onData);
    socket.once('close', () => {
      settle(undefined);
    });
    socket.once('error', () => {
      settle(undefined);
    });
  });
}

/**
 * Asks the agent that listens on `path`.
 *
 * @throws `CONTROL_UNAVAILABLE` if none does, or it may not be asked, or it does not answer in time
 */
export async function askAgent(
  path: string,
  request: ControlRequest,
  how: { readonly clock: Clock; readonly budgetMs: number },
): Promise<ControlAnswer> {
  const problem = socketPathProblem(path);
  if (problem !== undefined) throw unavailable(problem);
  // The folder may be another user's, who could lead root to the socket of any program.
  if (statOf(path)?.isSocket() === false) throw unavailable(`not a socket of an agent: ${path}`);
  const socket = connect(path);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.write(`${JSON.stringify(request)}\n`);
    const line = await readLine(socket, how.clock, how.budgetMs);
    const answer = line === undefined ? undefined : readAnswer(line);
    if (answer === undefined) throw unavailable(`its agent does not answer: ${path}`);
    return answer;
  } catch (cause) {
    if (cause instanceof OperationalError) throw cause;
    throw unavailable(
      REASONS[(cause as NodeJS.ErrnoException).code ?? ''] ?? 'cannot reach its agent',
      cause,
    );
  } finally {
    socket.destroy();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no agent runs it here, or the agent has no control socket',
  ECONNREFUSED: 'its agent has died',
  EACCES: 'its agent runs as another user: ask as that user, or as root',
};

function unavailable(reason: string, cause?: unknown): OperationalError {
  return new OperationalError(
    'CONTROL_UNAVAILABLE',
    `Cannot control the agent: ${reason}`,
    cause === undefined ? {} : { cause },
  );
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process was quicker.
  }
}
