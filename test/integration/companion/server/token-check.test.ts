import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { deregistrarEvents } from '../../../../control-plane/events.ts';
import type { Credential } from '../../../../control-plane/ports.ts';
import { CallBounds } from '../../../../control-plane/rpc/call-bounds.ts';
import { TokenCheck } from '../../../../control-plane/rpc/token-check.ts';
import type { GrpcService } from '../../../../control-plane/server/grpc-service.io.ts';
import { systemClock } from '../../../../kernel/clock.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { FakeLog } from '../../../support/fake-log.ts';
import { ask, askBig, plaintext, startTestServer, token, type TestServer } from './server-world.ts';

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const GOOD = tokenSaying({ Mesh: 'default', Name: 'web-1' });
const FORGED = tokenSaying({ Mesh: 'default', Name: 'stranger' });
const MESHLESS = tokenSaying({ Name: 'web-1' });
const REFUSAL = new OperationalError('UNAUTHENTICATED', 'The caller has no valid dataplane token');
const CREDENTIAL: Credential = { name: '', mesh: 'default', tags: {}, workload: '', id: 'token-1' };

function tokenSaying(claims: object): string {
  return `${part({ alg: 'RS256', kid: '1' })}.${part(claims)}.c2lnbmF0dXJl`;
}

describe('the token is checked before the message is read', () => {
  let read: number[];
  let asked: string[];
  let server: TestServer;
  let log: FakeLog;

  beforeEach(async () => {
    read = [];
    asked = [];
    log = new FakeLog();
    server = await startTestServer({
      listeners: (service) => [plaintext('127.0.0.1:0', [checked(recording(service))])],
    });
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    expect(log.lines.filter(({ event }) => event === 'deregistrar.failed')).toEqual([]);
  });

  function recording(service: GrpcService): GrpcService {
    const methods = Object.entries(service.definition).map(([name, method]) => {
      const requestDeserialize = (bytes: Buffer): unknown => {
        read.push(bytes.length);
        return method.requestDeserialize(bytes);
      };
      return [name, { ...method, requestDeserialize }] as const;
    });
    return { ...service, definition: Object.fromEntries(methods) };
  }

  function checked(service: GrpcService): GrpcService {
    const tokens = new TokenCheck({
      authenticator: {
        authenticate: (given, { mesh }) => {
          asked.push(mesh);
          return given === FORGED || given === '' ? Promise.reject(REFUSAL) : Promise.resolve(CREDENTIAL);
        },
      },
      bounds: new CallBounds({ clock: systemClock, onRefused: () => {} }),
      events: deregistrarEvents(log),
      service: 'deregistrar.v1.Deregistrar',
    });
    return { ...service, interceptors: [tokens.interceptor] };
  }

  test('a good one: the companion serves the call', async () => {
    await expect(ask(server.client(), token(GOOD))).resolves.toBe('ok');
    expect([asked, read.length]).toEqual([['default'], 1]);
  });

  test.for([
    ['a forged one', FORGED],
    ['none', ''],
  ])('%s: the companion refuses, and reads nothing of a message of 200 KB', async ([, given = '']) => {
    await expect(askBig(server.client(), 200_000, token(given))).resolves.toMatch(/^16 /);
    expect(read).toEqual([]);
  });

  test('a token without a mesh: the companion reads four messages of one address at once', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(server.client(), token(MESHLESS))));
    expect(answers).toEqual(['ok', 'ok', 'ok', 'ok']);
    // Each has given its place back.
    await expect(ask(server.client(), token(MESHLESS))).resolves.toBe('ok');
    expect(asked).toEqual([]);
  });

  test('unfinished messages of such tokens hold the four places, and no other call', async () => {
    const stranger = server.client();
    const silent = Array.from({ length: 4 }, () => stranger.attach(token(MESHLESS)));
    for (const stream of silent) stream.on('error', () => {});
    const answers: string[] = [];
    while (answers.at(-1)?.startsWith('8 ') !== true)
      answers.push(await ask(server.client(), token(MESHLESS)));
    await expect(ask(server.client(), token(GOOD))).resolves.toBe('ok');
    for (const stream of silent) stream.cancel();
    while (answers.at(-1) !== 'ok') answers.push(await ask(server.client(), token(MESHLESS)));
  });
});
