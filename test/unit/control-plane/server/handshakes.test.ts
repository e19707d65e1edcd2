import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

import { beforeEach, describe, expect, test } from 'vitest';

import { Handshakes } from '../../../../control-plane/server/handshakes.io.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

/** A socket as far as a handshake that has not begun looks at it. */
class Client extends EventEmitter {
  destroyed = false;
  readableLength = 0;

  speak(): void {
    this.readableLength = 517;
    this.emit('readable');
  }

  /** As a stream with unread bytes reports its end. */
  hangUp(): void {
    this.emit('readable');
  }

  destroy(): void {
    this.close();
  }

  close(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('TLS handshakes', () => {
  let clock: FakeClock;
  let handshakes: Handshakes;
  let clients: Map<string, Client>;
  let waited: string[];
  let begun: string[];

  beforeEach(() => {
    clock = new FakeClock();
    handshakes = new Handshakes({
      clock,
      together: 2,
      readOn: (then) => {
        then();
      },
    });
    clients = new Map();
    waited = [];
    begun = [];
  });

  const connect = (...names: readonly string[]): void => {
    for (const name of names) {
      const client = new Client();
      clients.set(name, client);
      handshakes.enter(client as unknown as Socket, {
        onWaiting: () => void waited.push(name),
        begin: () => void begun.push(name),
      });
    }
  };
  const of = (name: string): Client => {
    const client = clients.get(name);
    if (client === undefined) throw new TypeError(`There is no client ${name}`);
    return client;
  };
  const speak = (...names: readonly string[]): void => {
    for (const name of names) of(name).speak();
  };

  test('begin in the order of the first bytes, so many at once; a silent client takes no turn', () => {
    connect('silent', 'a', 'b', 'c', 'd');
    speak('d', 'c', 'b', 'a');
    expect(waited).toEqual(['d', 'c', 'b', 'a']);
    expect(begun).toEqual(['d', 'c']);
    handshakes.ended(of('d') as unknown as Socket);
    expect(begun).toEqual(['d', 'c', 'b']);
    handshakes.ended(of('d') as unknown as Socket);
    expect(begun).toEqual(['d', 'c', 'b']);
  });

  test('a connection that closes gives its turn and its place in the queue up', () => {
    connect('a', 'b', 'c', 'd');
    speak('a', 'b', 'c', 'd');
    of('c').close();
    of('a').close();
    expect(begun).toEqual(['a', 'b', 'd']);
  });

  test('a client that hangs up while it waits is cut, and never begins', () => {
    connect('a', 'b', 'gone', 'd');
    speak('a', 'b', 'gone', 'd');
    of('gone').hangUp();
    expect(of('gone').destroyed).toBe(true);
    handshakes.ended(of('a') as unknown as Socket);
    handshakes.ended(of('b') as unknown as Socket);
    expect(begun).toEqual(['a', 'b', 'd']);
  });

  test('a client whose first bytes arrive in two pieces begins', () => {
    connect('a', 'b', 'slow');
    speak('a', 'b', 'slow');
    of('slow').readableLength += 300;
    of('slow').emit('readable');
    handshakes.ended(of('a') as unknown as Socket);
    expect(begun).toEqual(['a', 'b', 'slow']);
  });

  test('a connection that ends without a byte never begins', () => {
    connect('a');
    of('a').emit('readable');
    expect([waited, begun]).toEqual([[], []]);
  });

  test('a client that stalls in its handshake keeps others waiting for 250 ms', () => {
    connect('stalls', 'stalls too', 'c', 'd');
    speak('stalls', 'stalls too', 'c', 'd');
    clock.advance(249);
    expect(begun).toEqual(['stalls', 'stalls too']);
    clock.advance(1);
    expect(begun).toEqual(['stalls', 'stalls too', 'c', 'd']);
  });
});
