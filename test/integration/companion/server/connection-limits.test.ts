import { describe, expect, test } from 'vitest';

import {
  ConnectionLimits,
  type AdmittedConnection,
} from '../../../../control-plane/server/connection-limits.io.ts';
import { addressBlock } from '../../../../kernel/address-block.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { waitUntil } from '../../../support/world/wait-until.ts';
import { ask, HELLO, startTestServer, token } from './server-world.ts';

const SETTINGS = {
  connections: 6,
  authenticatedPerSubject: 3,
  authenticatedPerAddress: 6,
  unauthenticated: 4,
  unauthenticatedPerAddress: 2,
  firstCallMs: 9_000,
};

function world() {
  const clock = new FakeClock();
  const limits = new ConnectionLimits(SETTINGS, clock);
  const cuts: string[] = [];
  const open = new Map<string, AdmittedConnection>();
  return {
    clock,
    limits,
    cuts,
    open,
    /** @returns `in`, or which limit kept it out */
    connect: (name: string, address: string): string => {
      const result = limits.admit(address, (limit) => {
        cuts.push(`${name}: ${limit}`);
        open.get(name)?.closed();
      });
      if ('refused' in result) return result.refused;
      open.set(name, result);
      return 'in';
    },
  };
}

describe('ConnectionLimits', () => {
  test('limits unauthenticated connections of one address, and lets other addresses in', () => {
    const { connect, limits, cuts } = world();
    expect(['a', 'b', 'c'].map((name) => connect(name, '192.0.2.1'))).toEqual([
      'in',
      'in',
      'unauthenticated-per-address',
    ]);
    expect(connect('d', '192.0.2.2')).toBe('in');
    expect(limits.counts).toEqual({ authenticated: 0, unauthenticated: 3 });
    expect(cuts).toEqual([]);
  });

  test('lets a new connection in when another is authenticated', () => {
    const { connect, open, limits } = world();
    connect('a', '192.0.2.1');
    connect('b', '192.0.2.1');
    open.get('a')?.authenticated('of a');
    expect(connect('c', '192.0.2.1')).toBe('in');
    expect(limits.counts).toEqual({ authenticated: 1, unauthenticated: 2 });
  });

  test('gives a newcomer the place of the oldest unauthenticated connection, if that one has had a third of its time', () => {
    const { connect, clock, cuts } = world();
    connect('a', '192.0.2.1');
    clock.advance(1);
    connect('b', '192.0.2.1');
    clock.advance(2_998);
    expect(connect('c', '192.0.2.1')).toBe('unauthenticated-per-address');
    clock.advance(1);
    expect(connect('d', '192.0.2.1')).toBe('in');
    expect(cuts).toEqual(['a: unauthenticated-per-address']);
    // `b` is a millisecond younger.
    expect(connect('e', '192.0.2.1')).toBe('unauthenticated-per-address');
  });

  test('does not count the time in which a connection waits for the companion', () => {
    const { connect, open, clock, cuts, limits } = world();
    connect('a', '192.0.2.1');
    clock.advance(8_000);
    open.get('a')?.waits();
    clock.advance(60_000);
    open.get('a')?.begins();
    clock.advance(8_999);
    expect(cuts).toEqual([]);
    clock.advance(1);
    expect(cuts).toEqual(['a: first-call']);
    open.get('a')?.begins();
    expect(limits.counts.unauthenticated).toBe(0);
  });

  test('limits all unauthenticated connections together', () => {
    const { connect, clock, cuts } = world();
    const names = ['a', 'b', 'c', 'd', 'e'];
    expect(names.map((name, index) => connect(name, `192.0.2.${index}`))).toEqual([
      'in',
      'in',
      'in',
      'in',
      'unauthenticated',
    ]);
    clock.advance(3_000);
    expect(connect('f', '192.0.2.9')).toBe('in');
    expect(cuts).toEqual(['a: unauthenticated']);
  });

  test('admits no connection beyond the total, however many of the others are authenticated', () => {
    const { connect, open } = world();
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      expect(connect(name, '192.0.2.1')).toBe('in');
      open.get(name)?.authenticated(`of ${name}`);
    }
    expect(connect('g', '192.0.2.2')).toBe('connections');
    open.get('a')?.closed();
    expect(connect('h', '192.0.2.2')).toBe('in');
  });

  test('limits the authenticated connections of one subject and of one address, and lets others in', () => {
    const { connect, clock, open, limits } = world();
    const limit = (name: string, address: string, subject: string): string | undefined => {
      expect(connect(name, address)).toBe('in');
      const over = open.get(name)?.authenticated(subject);
      if (over !== undefined) open.get(name)?.closed();
      return over;
    };
    expect(['a', 'b', 'c', 'd'].map((name) => limit(name, '192.0.2.1', 'token 1 web-1'))).toEqual([
      undefined,
      undefined,
      undefined,
      'authenticated-per-subject',
    ]);
    expect(limit('e', '192.0.2.1', 'token 2 web-2')).toBeUndefined();
    open.get('a')?.closed();
    expect(limit('f', '192.0.2.2', 'token 1 web-1')).toBeUndefined();
    expect(limits.counts).toEqual({ authenticated: 4, unauthenticated: 0 });
    expect(clock.armed).toBe(0);
  });

  test('leaves room for another address', () => {
    const limits = new ConnectionLimits({ ...SETTINGS, authenticatedPerAddress: 2 }, new FakeClock());
    const attach = (address: string, subject: string): string | undefined => {
      const admitted = limits.admit(address, () => {});
      if ('refused' in admitted) return admitted.refused;
      const over = admitted.authenticated(subject);
      if (over !== undefined) admitted.closed();
      return over;
    };
    expect(['1', '2', '3'].map((subject) => attach('192.0.2.1', subject))).toEqual([
      undefined,
      undefined,
      'authenticated-per-address',
    ]);
    expect(attach('192.0.2.2', '4')).toBeUndefined();
  });

  test('ends an unauthenticated connection after its time, and keeps authenticated ones', () => {
    const { connect, clock, open, cuts, limits } = world();
    connect('a', '192.0.2.1');
    connect('b', '192.0.2.1');
    open.get('b')?.authenticated('of b');
    clock.advance(8_999);
    expect(cuts).toEqual([]);
    clock.advance(1);
    expect(cuts).toEqual(['a: first-call']);
    clock.advance(3_600_000);
    expect(limits.counts).toEqual({ authenticated: 1, unauthenticated: 0 });
    expect(clock.armed).toBe(0);
  });

  test('keeps nothing of connections that have ended', () => {
    const { connect, clock, open, limits } = world();
    connect('a', '192.0.2.1');
    connect('b', '192.0.2.1');
    open.get('b')?.authenticated('of b');
    for (const connection of open.values()) connection.closed();
    expect(limits.counts).toEqual({ authenticated: 0, unauthenticated: 0 });
    expect(clock.armed).toBe(0);
  });

  test.for([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
  ] as const)('counts %s as %s', ([address, block]) => {
    expect(addressBlock(address)).toBe(block);
  });
});

describe('connections of one token', () => {
  test('beyond the limit: the companion answers the newest and cuts it; the others stay', async () => {
    const clock = new FakeClock();
    await using server = await startTestServer({ clock, limits: { authenticatedPerSubject: 2 } });
    const clients = [server.client(), server.client(), server.client()];
    for (const client of clients) await expect(ask(client)).resolves.toBe('ok');
    expect(server.server.connections).toEqual({ authenticated: 2, unauthenticated: 1 });
    clock.advance(1_000);
    await waitUntil(() => server.server.connections.unauthenticated === 0, { what: 'the third to be cut' });
    expect(server.events).toEqual([{ event: 'refused', what: 'authenticated-per-subject' }]);
    await expect(ask(clients[0] ?? server.client())).resolves.toBe('ok');
  });
});

describe('silent connections', () => {
  test('stay within the limits, 3,000 of them, while an agent is served, and end after their time', async () => {
    await using server = await startTestServer({
      limits: { unauthenticated: 500, unauthenticatedPerAddress: 400, firstCallMs: 3_000 },
    });
    const agent = server.client();
    await expect(ask(agent)).resolves.toBe('ok');
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(Array.from({ length: 300 }, () => server.dial()));
      await expect(ask(agent)).resolves.toBe('ok');
      expect(server.server.connections.unauthenticated).toBeLessThanOrEqual(400);
    }
    await waitUntil(() => server.server.connections.unauthenticated === 0, { what: 'the last to be cut' });
    expect(server.server.connections).toEqual({ authenticated: 1, unauthenticated: 0 });
    expect(server.events).toHaveLength(3_000);
    expect(new Set(server.events.map(({ what }) => what))).toEqual(
      new Set(['unauthenticated-per-address', 'first-call']),
    );
    await expect(ask(agent)).resolves.toBe('ok');
    await expect(ask(server.client())).resolves.toBe('ok');
  });

  test('get more time by an authenticated call, and by no other', async () => {
    const clock = new FakeClock();
    await using server = await startTestServer({ clock });
    const good = server.client();
    const stream = good.attach(token());
    stream.on('error', () => undefined);
    stream.write(HELLO);
    await waitUntil(() => server.server.connections.authenticated === 1, { what: 'it to be authenticated' });
    await expect(ask(server.client(), token('bad'))).resolves.toBe('ok');
    expect(server.server.connections).toEqual({ authenticated: 1, unauthenticated: 1 });
    clock.advance(10_000);
    await waitUntil(() => server.server.connections.unauthenticated === 0, { what: 'the other to be cut' });
    expect(server.events).toEqual([{ event: 'refused', what: 'first-call' }]);
    await expect(ask(good)).resolves.toBe('ok');
  });

  test('end with a stream that is open and never sends a message', async () => {
    const clock = new FakeClock();
    await using server = await startTestServer({ clock });
    const stream = server.client().attach(token());
    const ended = new Promise((resolve) => {
      stream.on('error', (error: { readonly code?: number }) => {
        resolve(error.code);
      });
    });
    await waitUntil(() => server.streams.length === 1, { what: 'the stream to open' });
    clock.advance(10_000);
    await expect(ended).resolves.toBe(14);
  });
});
