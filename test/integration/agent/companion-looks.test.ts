import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { setTimeout as delay } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { AttachStream, LookRequest, Witness } from '../../../agent/ports.ts';
import { AttachRequest, Testimony_Result } from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { toWireDuration } from '../../../proto/wire-duration.ts';
import { attachTo, plainEndpoint } from '../../support/companion-endpoint.ts';
import { attachedAs, FakeCompanion } from '../../support/fake-companion.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

let open: AsyncDisposableStack;

beforeEach(() => {
  open = new AsyncDisposableStack();
});

afterEach(() => open.disposeAsync());

function attach(
  fake: Pick<FakeCompanion, 'url'>,
  witness: Witness | undefined,
  budgetMs = 5_000,
): Promise<AttachStream> {
  return attachTo(plainEndpoint(fake.url, open, witness), { budgetMs });
}

describe('a look that a companion asks for', () => {
  const SUSPECT = { address: '10.0.0.7', port: 8_080 };
  const LOOK = {
    id: 42,
    targets: [SUSPECT, { ...SUSPECT, port: 8_081 }],
    control: { address: '10.0.0.8', port: 8_080 },
    closedPort: 9,
    timeout: { seconds: 3, nanos: 0 },
  };

  test('reaches the witness, and is answered with its id', async () => {
    const asked: LookRequest[] = [];
    const witness: Witness = {
      look: (request) => {
        asked.push(request);
        return Promise.resolve(
          request.targets.map((target, at) =>
            at === 0
              ? { target, result: 'silent' as const, reason: '' }
              : { target, result: 'unable' as const, reason: 'a stall' },
          ),
        );
      },
    };
    const fake = open.use(await FakeCompanion.start());
    await attach(fake, witness);
    expect(fake.streams[0]?.hello.looks).toBe(true);
    fake.send({ $case: 'look', value: LOOK });
    fake.send({ $case: 'look', value: { ...LOOK, id: 43, control: undefined, closedPort: 0 } });
    await waitUntil(() => fake.streams[0]?.testimonies.length === 2, { what: 'both testimonies' });
    expect(asked).toEqual([
      { targets: LOOK.targets, control: LOOK.control, closedPort: 9, timeoutMs: 3_000 },
      { targets: LOOK.targets, control: undefined, closedPort: undefined, timeoutMs: 3_000 },
    ]);
    expect(fake.streams[0]?.testimonies).toEqual(
      [42, 43].map((id) => ({
        id,
        findings: [
          { target: LOOK.targets[0], result: Testimony_Result.SILENT, reason: '' },
          { target: LOOK.targets[1], result: Testimony_Result.UNABLE, reason: 'a stall' },
        ],
      })),
    );
  });

  test('gets no answer from an agent that makes none, and the stream stays', async () => {
    const fake = open.use(await FakeCompanion.start());
    await attach(fake, undefined);
    expect(fake.streams[0]?.hello.looks).toBe(false);
    fake.send({ $case: 'look', value: LOOK });
    fake.send({ $case: 'ask', value: {} });
    await waitUntil(() => fake.streams[0]?.phases.length === 1, { what: 'the answer to the Ask' });
    expect(fake.streams[0]?.testimonies).toEqual([]);
  });

  test('is dropped without harm if its stream has ended meanwhile', async () => {
    const looked = Promise.withResolvers<readonly []>();
    const fake = open.use(await FakeCompanion.start());
    const stream = await attach(fake, { look: () => looked.promise });
    fake.send({ $case: 'look', value: LOOK });
    fake.crash();
    expect((await stream.ended).kind).toBe('lost');
    looked.resolve([]);
    await looked.promise;
  });
});

test('an agent keeps its place at a busy companion that names the wait', async () => {
  const turn = Promise.withResolvers<undefined>();
  const fake = open.use(
    await FakeCompanion.start({
      replies: {
        attach: async (_hello, _nth, say) => {
          say({ $case: 'waiting', value: { within: toWireDuration(60_000) } });
          await turn.promise;
          return attachedAs(1);
        },
      },
    }),
  );
  const budgetMs = 500;
  const attaching = attach(fake, undefined, budgetMs);
  await waitUntil(() => fake.streams.length === 1, { what: 'the Hello' });
  await delay(2 * budgetMs);
  turn.resolve(undefined);
  await attaching;
  expect(fake.streams).toMatchObject([{ open: true, hello: { waits: true } }]);
});

/** What a companion of 0.1.0 writes to an agent that it has attached: epoch 7, a grace of 15 s. */
const OLD_ATTACHED = 'CggIBxABIgIIDw==';

test('the agent attaches to a companion of 0.1.0 and sends it nothing unknown', async () => {
  const heard: Buffer[] = [];
  const server = new Server();
  server.addService(
    {
      attach: {
        path: '/deregistrar.v1.Deregistrar/Attach',
        requestStream: true,
        responseStream: true,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    {
      attach: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('error', () => undefined);
        call.on('data', (bytes: Buffer) => {
          heard.push(bytes);
          if (heard.length === 1) call.write(Buffer.from(OLD_ATTACHED, 'base64'));
        });
      },
    },
  );
  open.defer(() => {
    server.forceShutdown();
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const witness = { look: () => Promise.reject(new Error('It was asked to look')) };
  const stream = await attach({ url: `grpc://127.0.0.1:${port}` }, witness);
  stream.tell({ phase: 'draining', serving: false });
  await waitUntil(() => heard.length >= 2, { what: 'the companion to hear of the phase' });
  // Field 1: hello. Field 2: the phase. Field 3: the stop report.
  expect(heard.map(([tag = 0]) => tag >> 3)).toEqual([1, ...heard.slice(1).map(() => 2)]);
  const [hello] = heard;
  const { $case, value } = AttachRequest.decode(hello ?? Buffer.alloc(0)).message ?? {};
  expect($case).toBe('hello');
  expect(value).toMatchObject({
    incarnation: { dataplane: { mesh: 'default', name: 'web-1' }, address: '10.0.0.1' },
    phase: 'running',
  });
});

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
