import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { companionEndpoint } from '../../../agent/companion/companion-endpoint.io.ts';
import { dataplaneToken } from '../../../agent/identity/dataplane-token.io.ts';
import type { Attached, Companion, Departure, Hello } from '../../../agent/ports.ts';
import { systemClock } from '../../../kernel/clock.ts';
import { withDeadline, type DeadlineScope } from '../../../kernel/deadline.ts';
import { OperationalError, type ErrorCode } from '../../../kernel/errors.ts';
import { DEFAULT_FACTS } from '../../../kuma/control-plane.ts';
import type { EndpointTls } from '../../../kuma/connection-pool.io.ts';
import { readyAs, type Made, type Want, type Wish } from '../../../kuma/object-wish.ts';
import {
  ConfirmResponse_Verdict,
  DeregisterResponse_Outcome,
  Wish_State,
} from '../../../proto/gen/deregistrar/v1/deregistrar.ts';
import { DEAF } from '../../support/deaf-listener.ts';
import { FakeCompanion, Refusal, silent, type FakeCompanionOptions } from '../../support/fake-companion.ts';
import { FaultProxy } from '../../support/fault-proxy.ts';
import { TLS_FIXTURES } from '../../support/kuma/control-plane.ts';
import { freePort } from '../../support/world/free-port.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';
import { waitUntil } from '../../support/world/wait-until.ts';

const TOKEN = 'a-token.of-three.parts';
const DEPARTURE: Departure = {
  key: { proxyType: 'dataplane', mesh: 'default', name: 'web-1' },
  own: { incarnation: 'run-1', address: '10.0.0.1' },
};
const INCARNATION = {
  dataplane: { mesh: 'default', name: 'web-1' },
  id: 'run-1',
  address: '10.0.0.1',
};
const RESOURCE = { type: 'Dataplane', mesh: 'default', name: 'web-1' };
const HELLO: Hello = {
  departure: DEPARTURE,
  owner: 'agent',
  deletable: true,
  resource: RESOURCE,
  status: { phase: 'starting', serving: false },
  epoch: undefined,
};
const CA = readFileSync(join(TLS_FIXTURES, 'ca.crt'), 'utf8');
const OTHER_CA = readFileSync(join(TLS_FIXTURES, 'other-ca.crt'), 'utf8');
const CLEAR: EndpointTls = {
  ca: undefined,
  clientCertificate: undefined,
  clientKey: undefined,
  skipVerify: false,
};

let open: AsyncDisposableStack;

beforeEach(() => {
  open = new AsyncDisposableStack();
});

afterEach(() => open.disposeAsync());

async function companion(options: FakeCompanionOptions = {}): Promise<FakeCompanion> {
  return open.use(await FakeCompanion.start(options));
}

function endpointAt(
  url: string,
  how: {
    readonly tls?: Partial<EndpointTls>;
    readonly tokenFile?: string;
    readonly pings?: { readonly timeMs: number; readonly timeoutMs: number };
  } = {},
): Companion {
  const { tls = {}, tokenFile, pings } = how;
  return open.adopt(
    companionEndpoint({
      url: new URL(url),
      tls: { ...CLEAR, ...tls },
      token: dataplaneToken(
        tokenFile === undefined ? { inline: TOKEN, file: undefined } : { inline: undefined, file: tokenFile },
      ),
      ...(pings === undefined ? {} : { pings }),
    }),
    (endpoint) => {
      endpoint.close();
    },
  );
}

/** Calls as the registration does: with a deadline of its own. */
function within<T>(budgetMs: number, ask: (by: AbortSignal, wait: DeadlineScope) => Promise<T>): Promise<T> {
  return withDeadline({ clock: systemClock, action: 'ask', budgetMs }, (wait) => ask(wait.signal, wait));
}

/** What came of it, in the words of a removal. */
async function deregister(endpoint: Companion, departure: Departure, signal: AbortSignal): Promise<string> {
  const attempt = { signal, budgetMs: 1_500, send: () => signal };
  const { changed } = await endpoint.make(
    departure,
    { wish: { state: 'absent' }, template: undefined },
    attempt,
  );
  return changed ? 'deleted' : 'already gone';
}

function make(endpoint: Companion, want: Want, signal: AbortSignal): Promise<Made> {
  return endpoint.make(DEPARTURE, want, { signal, budgetMs: 1_500, send: () => signal });
}

async function failure(
  work: Promise<unknown>,
): Promise<{ readonly code: ErrorCode; readonly message: string }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof OperationalError) return error;
    throw error;
  }
  throw new TypeError('It did not fail');
}

async function attach(
  endpoint: Companion,
  hello = HELLO,
): Promise<{
  readonly stream: Awaited<ReturnType<Companion['attach']>>;
  readonly attached: readonly Attached[];
}> {
  const attached: Attached[] = [];
  const listener = { ...DEAF, attached: (one: Attached) => void attached.push(one) };
  const stream = await within(5_000, (_, wait) => endpoint.attach(hello, listener, wait));
  return { stream, attached };
}

describe('the calls of a companion', () => {
  test('a check learns the facts that a departure depends on, and that the token is good for this name', async () => {
    const fake = await companion();
    const facts = await within(5_000, (signal) => endpointAt(fake.url).check(DEPARTURE.key, signal));
    expect(facts).toEqual({
      version: '2.14.3',
      instanceId: 'cp-1',
      mode: 'zone',
      propagationMs: 50,
      deregistrationDelayMs: 10_000,
      hdsDelayMs: undefined,
    });
    expect(fake.seen('getControlPlane')).toMatchObject([
      { request: { dataplane: INCARNATION.dataplane }, token: TOKEN },
    ]);
  });

  test("if the companion does not know the intervals, Kuma's defaults apply", async () => {
    const fake = await companion({
      replies: {
        getControlPlane: () => ({
          version: '',
          instanceId: '',
          mode: '',
          propagation: undefined,
          deregistrationDelay: undefined,
          hdsDelay: { seconds: 1, nanos: 500_000_000 },
          ingressPropagation: undefined,
          lastOfServicePropagation: undefined,
        }),
      },
    });
    const facts = await within(5_000, (signal) => endpointAt(fake.url).check(DEPARTURE.key, signal));
    expect(facts).toEqual({ ...DEFAULT_FACTS, hdsDelayMs: 1_500 });
  });

  test('Register puts the object with the incarnation, first not ready and then ready', async () => {
    const fake = await companion();
    const endpoint = endpointAt(fake.url);
    const wishes: readonly Wish[] = [{ state: 'hidden', takeOver: true }, readyAs(RESOURCE)];
    for (const wish of wishes)
      await within(5_000, (signal) => make(endpoint, { wish, template: RESOURCE }, signal));
    const resource = Buffer.from(JSON.stringify(RESOURCE));
    expect(fake.seen('register').map(({ request, token }) => ({ request, token }))).toMatchObject([
      {
        request: {
          incarnation: INCARNATION,
          resource,
          ready: false,
          wish: { state: Wish_State.HIDDEN, takeOver: true },
        },
        token: TOKEN,
      },
      {
        request: {
          incarnation: INCARNATION,
          resource,
          ready: true,
          wish: { state: Wish_State.READY, leaveProbed: true },
        },
        token: TOKEN,
      },
    ]);
  });

  test('Deregister names the incarnation that leaves and the time limit', async () => {
    const fake = await companion();
    const outcome = await within(5_000, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    expect(outcome).toBe('deleted');
    const [call] = fake.seen('deregister');
    expect(call?.request).toEqual({ incarnation: INCARNATION });
    expect(call?.budgetMs).toBeGreaterThan(500);
    expect(call?.budgetMs).toBeLessThanOrEqual(1_500);
  });

  test('a caller that only names a dataplane gets a made-up incarnation', async () => {
    const fake = await companion();
    const departure = { ...DEPARTURE, own: { incarnation: undefined, address: undefined } };
    await within(5_000, (signal) => deregister(endpointAt(fake.url), departure, signal));
    expect(fake.seen('deregister')).toMatchObject([
      { request: { incarnation: { id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string, address: '' } } },
    ]);
  });

  test.for([
    ['ALREADY_GONE', 'already gone'],
    ['DELETED', 'deleted'],
  ] as const)('%s counts as success', async ([word, outcome]) => {
    const answer = { outcome: DeregisterResponse_Outcome[word], guard: '', reason: '', durable: true };
    const fake = await companion({ replies: { deregister: () => answer } });
    const asked = within(5_000, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    expect(await asked).toBe(outcome);
  });

  test.for([
    [
      'ACCEPTED',
      {
        code: 'ENDPOINT_BUSY',
        message: 'Dataplane default/web-1 is not deleted yet: the control plane is away',
        details: { handedOver: true },
      },
    ],
    [
      'REFUSED',
      {
        code: 'DATAPLANE_FOREIGN',
        message: 'Dataplane default/web-1 stays as it is: the control plane is away',
      },
    ],
    ['UNSPECIFIED', { code: 'ANSWER_UNREADABLE' }],
  ] as const)('%s counts as failure', async ([word, expected]) => {
    const reason = 'the control plane is away';
    const answer = { outcome: DeregisterResponse_Outcome[word], guard: '', reason, durable: true };
    const fake = await companion({ replies: { deregister: () => answer } });
    const asked = within(5_000, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    expect(await failure(asked)).toMatchObject(expected);
  });

  test('names the guard that holds a dataplane', async () => {
    const answer = {
      outcome: DeregisterResponse_Outcome.REFUSED,
      guard: 'newer-epoch',
      reason: 'epoch 4 has the name',
      durable: true,
    };
    const fake = await companion({ replies: { deregister: () => answer } });
    const asked = within(5_000, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    expect((await failure(asked)).message).toBe(
      'Dataplane default/web-1 stays as it is: newer-epoch: epoch 4 has the name',
    );
  });

  test.for([
    ['GONE', { verdict: 'gone' }],
    ['DELETED', { verdict: 'deleted' }],
    ['WAIT', { verdict: 'wait', reason: 'why' }],
    ['LEAVE', { verdict: 'leave', reason: 'why' }],
  ] as const)('the verdict %s', async ([word, expected]) => {
    const answer = { verdict: ConfirmResponse_Verdict[word], reason: 'why' };
    const fake = await companion({ replies: { confirm: () => answer } });
    expect(await within(5_000, (signal) => endpointAt(fake.url).confirm(DEPARTURE, 'ended', signal))).toEqual(
      expected,
    );
  });

  test.for<readonly [keyof typeof status, ErrorCode]>([
    ['UNAVAILABLE', 'ENDPOINT_UNREACHABLE'],
    ['UNAUTHENTICATED', 'ENDPOINT_REJECTED'],
    ['PERMISSION_DENIED', 'ENDPOINT_REJECTED'],
    ['INVALID_ARGUMENT', 'ENDPOINT_REJECTED'],
    ['UNIMPLEMENTED', 'ENDPOINT_REJECTED'],
    ['FAILED_PRECONDITION', 'DATAPLANE_FOREIGN'],
    ['ABORTED', 'ENDPOINT_BUSY'],
    ['RESOURCE_EXHAUSTED', 'ENDPOINT_BUSY'],
    ['INTERNAL', 'ENDPOINT_BUSY'],
    ['UNKNOWN', 'ENDPOINT_BUSY'],
    ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED'],
  ])('%s is %s', async ([word, code]) => {
    const fake = await companion({
      replies: {
        deregister: () => {
          throw new Refusal(status[word], 'what it says');
        },
      },
    });
    const asked = within(5_000, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    const { code: found, message } = await failure(asked);
    expect(found).toBe(code);
    expect(message).toMatch(/what it says/);
    expect(message).not.toContain(TOKEN);
  });

  test('the error for a refused token has a remedy', async () => {
    const fake = await companion({
      replies: {
        getControlPlane: () => {
          throw new Refusal(status.UNAUTHENTICATED);
        },
      },
    });
    const { message } = await failure(
      within(5_000, (signal) => endpointAt(fake.url).check(DEPARTURE.key, signal)),
    );
    expect(message).toMatch(/--dataplane-token-file/);
  });

  test('the agent reads the token again at each check, and only then', async () => {
    const fake = await companion();
    using dir = new TemporaryDir();
    const tokenFile = dir.join('token');
    writeFileSync(tokenFile, 'first\n');
    const endpoint = endpointAt(fake.url, { tokenFile });
    await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal));
    writeFileSync(tokenFile, 'second\n');
    await within(5_000, (signal) => deregister(endpoint, DEPARTURE, signal));
    await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal));
    expect(fake.calls.map(({ method, token }) => [method, token])).toEqual([
      ['getControlPlane', 'first'],
      ['deregister', 'first'],
      ['getControlPlane', 'second'],
    ]);
  });

  test('an invalid token file fails the check and sends nothing', async () => {
    const fake = await companion();
    using dir = new TemporaryDir();
    const tokenFile = dir.join('token');
    writeFileSync(tokenFile, 'of two\nlines');
    const asked = within(5_000, (signal) => endpointAt(fake.url, { tokenFile }).check(DEPARTURE.key, signal));
    expect((await failure(asked)).code).toBe('CONFIG_INVALID');
    expect(fake.calls).toEqual([]);
  });
});

test('an invalid inline token is refused, and the error does not quote it', async () => {
  const token = dataplaneToken({ inline: 'of two\nlines', file: undefined });
  expect(token.current).toBeUndefined();
  expect(await failure(token.refresh())).toMatchObject({
    code: 'CONFIG_INVALID',
    message: 'Cannot use the inline dataplane token: this is not a token',
  });
});

test('an invalid key is an error of the settings', () => {
  expect(() =>
    endpointAt('grpcs://localhost:5690', { tls: { clientCertificate: CA, clientKey: 'no PEM' } }),
  ).toThrow(/^Cannot use the certificates or the key for grpcs:\/\/localhost:5690/);
});

describe('a connection to a companion', () => {
  test('is made over TLS with the given CA', async () => {
    const fake = await companion({ certificate: 'server' });
    const endpoint = endpointAt(fake.url, { tls: { ca: CA } });
    expect(await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal))).toMatchObject({
      version: '2.14.3',
    });
  });

  test('is made over TLS to its name', async () => {
    const fake = await companion({ certificate: 'server' });
    const endpoint = endpointAt(`grpcs://localhost:${fake.port}`, { tls: { ca: CA } });
    expect(await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal))).toMatchObject({
      version: '2.14.3',
    });
  });

  test.for<{
    readonly certificate: 'server' | 'expired' | 'wrong-name';
    readonly ca: string;
    readonly why: string;
  }>([
    { certificate: 'server', ca: OTHER_CA, why: 'another CA' },
    { certificate: 'expired', ca: CA, why: 'an expired certificate' },
    { certificate: 'wrong-name', ca: CA, why: 'another name' },
  ])('is not made with $why, and then no token is sent', async ({ certificate, ca }) => {
    const fake = await companion({ certificate });
    const asked = within(5_000, (signal) =>
      endpointAt(fake.url, { tls: { ca } }).check(DEPARTURE.key, signal),
    );
    expect(await failure(asked)).toMatchObject({ code: 'ENDPOINT_UNTRUSTED' });
    expect(fake.calls).toEqual([]);
  });

  test('is made to a certificate of another name where kuma-dp verifies none', async () => {
    const fake = await companion({ certificate: 'wrong-name' });
    const endpoint = endpointAt(fake.url, { tls: { skipVerify: true } });
    expect(await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal))).toMatchObject({
      version: '2.14.3',
    });
  });

  test('is made neither in plain text to a TLS server, nor over TLS to a plain-text server', async () => {
    const [secure, clear] = [await companion({ certificate: 'server' }), await companion()];
    const toSecure = endpointAt(`grpc://127.0.0.1:${secure.port}`);
    const toClear = endpointAt(`grpcs://127.0.0.1:${clear.port}`, { tls: { ca: CA } });
    expect(await failure(within(5_000, (signal) => toSecure.check(DEPARTURE.key, signal)))).toMatchObject({
      code: 'ENDPOINT_UNREACHABLE',
    });
    expect(await failure(within(5_000, (signal) => toClear.check(DEPARTURE.key, signal)))).toMatchObject({
      code: 'ENDPOINT_UNTRUSTED',
    });
    expect([...secure.calls, ...clear.calls]).toEqual([]);
  });

  test('fails where no process listens', async () => {
    const endpoint = endpointAt(`grpc://127.0.0.1:${await freePort()}`);
    expect(await failure(within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal)))).toMatchObject({
      code: 'ENDPOINT_UNREACHABLE',
    });
  });

  test('ends with its signal where no companion answers', async () => {
    const fake = await companion({ replies: { deregister: silent } });
    const asked = within(200, (signal) => deregister(endpointAt(fake.url), DEPARTURE, signal));
    expect(await failure(asked)).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test('costs one attempt when it is silently dead: the next attempt opens a new one', async () => {
    const fake = await companion();
    const proxy = open.use(await FaultProxy.start(`http://127.0.0.1:${fake.port}`));
    const endpoint = endpointAt(fake.urlAt(proxy.port));
    await within(5_000, (signal) => endpoint.check(DEPARTURE.key, signal));
    // Open connections stay silent; new ones pass.
    await proxy.become({ kind: 'silence' });
    const asked = within(300, (signal) => deregister(endpoint, DEPARTURE, signal));
    await failure(asked);
    await proxy.become({ kind: 'pass' });
    await within(5_000, (signal) => deregister(endpoint, DEPARTURE, signal));
    expect(proxy.accepted).toBeGreaterThan(1);
  });
});

describe('the stream to a companion', () => {
  test('sends a whole Hello, and learns its epoch', async () => {
    const fake = await companion();
    const { attached } = await attach(endpointAt(fake.url));
    expect(attached).toMatchObject([{ epoch: 1, facts: { version: '2.14.3', propagationMs: 50 } }]);
    expect(fake.streams).toMatchObject([
      {
        token: TOKEN,
        hello: {
          incarnation: INCARNATION,
          owner: 2,
          deletable: true,
          resource: Buffer.from(JSON.stringify(RESOURCE)),
          phase: 'starting',
        },
      },
    ]);
  });

  test('sends phases in the words of the contract', async () => {
    const fake = await companion();
    const { stream } = await attach(endpointAt(fake.url));
    for (const phase of ['running', 'draining', 'confirming', 'stopped'] as const) {
      stream.tell({ phase, serving: phase === 'running' });
    }
    await waitUntil(() => fake.streams[0]?.phases.length === 4, { what: 'four phases' });
    expect(fake.streams[0]?.phases).toMatchObject([
      { phase: 'running', serving: true },
      { phase: 'draining', serving: false },
      { phase: 'exiting', serving: false },
      { phase: 'exiting', serving: false },
    ]);
  });

  test('ends once the companion has received the last message', async () => {
    const fake = await companion();
    const { stream } = await attach(endpointAt(fake.url));
    await stream.finish({ report: '{"schema":1}', keep: false });
    expect(fake.streams[0]).toMatchObject({ reports: ['{"schema":1}'], open: false });
  });

  test('learns that the companion redirects it', async () => {
    const fake = await companion();
    const { stream } = await attach(endpointAt(fake.url));
    fake.send({ $case: 'redirected', value: { reason: 'this replica stops' } });
    expect(await stream.ended).toEqual({ kind: 'redirected', reason: 'this replica stops' });
    await waitUntil(() => fake.streams[0]?.open === false, { what: 'the end of the stream' });
  });

  test('looks for another replica behind the same name when it is redirected', async () => {
    const fake = await companion();
    const proxy = open.use(await FaultProxy.start(`http://127.0.0.1:${fake.port}`));
    const endpoint = endpointAt(fake.urlAt(proxy.port));
    const { stream } = await attach(endpoint);
    fake.send({ $case: 'redirected', value: { reason: 'this replica stops' } });
    await stream.ended;
    await attach(endpoint);
    expect(proxy.accepted).toBe(2);
  });

  test('ends if a newer incarnation has the name', async () => {
    const fake = await companion({
      replies: {
        attach: () => {
          throw new Refusal(status.FAILED_PRECONDITION, 'epoch 7 has the name');
        },
      },
    });
    expect(await failure(attach(endpointAt(fake.url)))).toMatchObject({ code: 'DATAPLANE_FOREIGN' });
  });

  test('ends with an abandoned wait', async () => {
    const fake = await companion({ replies: { attach: silent } });
    const endpoint = endpointAt(fake.url);
    await failure(within(200, (_, wait) => endpoint.attach(HELLO, DEAF, wait)));
    await waitUntil(() => fake.streams[0]?.open === false, { what: 'the end of the stream' });
    expect(fake.streams).toHaveLength(1);
  });

  test('notices a silent network path', async () => {
    const fake = await companion();
    const proxy = open.use(await FaultProxy.start(`http://127.0.0.1:${fake.port}`));
    const endpoint = endpointAt(fake.urlAt(proxy.port), { pings: { timeMs: 100, timeoutMs: 100 } });
    const { stream } = await attach(endpoint);
    await proxy.become({ kind: 'silence' });
    expect(await stream.ended).toMatchObject({ kind: 'lost', error: { code: 'ENDPOINT_UNREACHABLE' } });
  });

  test('stays although a call on the same connection got no answer', async () => {
    const fake = await companion({ replies: { deregister: silent } });
    const endpoint = endpointAt(fake.url);
    const { stream } = await attach(endpoint);
    await failure(within(100, (signal) => deregister(endpoint, DEPARTURE, signal)));
    stream.tell({ phase: 'running', serving: true });
    await waitUntil(() => fake.streams[0]?.phases.length === 1, { what: 'the phase' });
    expect(fake.streams).toMatchObject([{ open: true }]);
  });
});
