import type { ClientDuplexStream } from '@grpc/grpc-js';

import { OperationalError } from '../../kernel/errors.ts';
import type { AttachRequest, AttachResponse, Look } from '../../proto/gen/deregistrar/v1/deregistrar.ts';
import type {
  AgentStatus,
  AttachListener,
  AttachStream,
  AttachWait,
  LastWords,
  StreamEnd,
  Witness,
} from '../ports.ts';
import {
  fromAttached,
  fromControlPlane,
  fromLook,
  fromWaiting,
  toPhaseChanged,
  toStopped,
  toTestimony,
} from './companion-messages.io.ts';
import { fromServiceError, isServiceError } from './grpc-failure.io.ts';

export interface CompanionStreamOptions {
  /** Imperative phrase for error messages. */
  readonly action: string;
  readonly call: ClientDuplexStream<AttachRequest, AttachResponse>;
  readonly hello: AttachRequest;
  /** The agent's part of the Hello. */
  readonly status: AgentStatus;
  readonly listener: AttachListener;
  readonly onRedirected: () => void;
  /** Answers a Look; `undefined`: the hello says that this agent does not. */
  readonly witness: Witness | undefined;
  /** Until it is attached. */
  readonly wait: AttachWait;
}

/** Says hello and waits until the companion has attached the dataplane. */
export async function openCompanionStream(options: CompanionStreamOptions): Promise<AttachStream> {
  const { call, hello, action, listener, onRedirected } = options;
  const { signal } = options.wait;
  let said = options.status;
  signal.throwIfAborted();
  const ended = Promise.withResolvers<StreamEnd>();
  const attached = Promise.withResolvers<void>();
  const onAbort = (): void => {
    call.cancel();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  call.on('data', ({ message }: AttachResponse) => {
    if (message?.$case === 'attached') {
      listener.attached(fromAttached(message.value));
      attached.resolve();
    } else if (message?.$case === 'ask') {
      call.write(toPhaseChanged(said));
      listener.answered();
    } else if (message?.$case === 'redirected') {
      ended.resolve({ kind: 'redirected', reason: message.value.reason });
      onRedirected();
      call.cancel();
    } else hear(options, message);
  });
  call.on('error', (error: unknown) => {
    ended.resolve({ kind: 'lost', error: isServiceError(error) ? fromServiceError(action, error) : error });
  });
  call.on('end', () => {
    ended.resolve({
      kind: 'lost',
      error: new OperationalError('ENDPOINT_UNREACHABLE', `Cannot ${action}: the companion ended the stream`),
    });
  });
  call.write(hello);
  try {
    await Promise.race([attached.promise, ended.promise.then((end) => failBecauseOf(action, end))]);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return {
    ended: ended.promise,
    tell: (status, owner) => {
      said = status;
      call.write(toPhaseChanged(status, owner));
    },
    finish: (words) => finish(call, words),
    close: () => {
      call.cancel();
    },
  };
}

/** What changes nothing about the stream. */
function hear(options: CompanionStreamOptions, message: AttachResponse['message']): void {
  if (message?.$case === 'look') void answerLook(options, message.value);
  else if (message?.$case === 'news') options.listener.news(fromControlPlane(message.value));
  else if (message?.$case === 'waiting') options.wait.extend(fromWaiting(message.value));
}

async function answerLook({ call, witness }: CompanionStreamOptions, look: Look): Promise<void> {
  if (witness === undefined) return;
  const findings = await witness.look(fromLook(look));
  if (call.writable) call.write(toTestimony(look.id, findings));
}

function failBecauseOf(action: string, end: StreamEnd): never {
  if (end.kind === 'lost') throw end.error;
  throw new OperationalError(
    'ENDPOINT_BUSY',
    `Cannot ${action}: the companion redirected the agent: ${end.reason}`,
  );
}

/** The companion ends its side once it has read everything. */
function finish(call: ClientDuplexStream<AttachRequest, AttachResponse>, words: LastWords): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['end', 'error', 'status']) {
      call.once(event, () => {
        resolve();
      });
    }
    call.write(toStopped(words));
    call.end();
  });
}
