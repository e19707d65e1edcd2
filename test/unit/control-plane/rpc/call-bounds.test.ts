import { beforeEach, describe, expect, test } from 'vitest';

import { CallBounds } from '../../../../control-plane/rpc/call-bounds.ts';
import type { Caller } from '../../../../kernel/bounds.ts';
import { OperationalError } from '../../../../kernel/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const WEB: Caller = { subject: 'token-1 default/web-1', address: '192.0.2.1' };
const OTHER: Caller = { subject: 'token-2 default/web-2', address: '192.0.2.1' };

let clock: FakeClock;
let bounds: CallBounds;
let refused: string[];

beforeEach(() => {
  clock = new FakeClock();
  refused = [];
  bounds = new CallBounds({ clock, onRefused: (resource, scope) => refused.push(`${resource} ${scope}`) });
});

/** Until everything that waits for nothing has been done. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

describe('calls', () => {
  test('four of one subject act, twelve wait in their order, more are refused; another subject acts at once', async () => {
    const acting: number[] = [];
    const releases: (() => void)[] = [];
    for (let at = 0; at < 20; at += 1) {
      void bounds.beginCall(WEB).then(
        (release) => {
          acting.push(at);
          releases.push(release);
        },
        (error: unknown) => {
          expect((error as OperationalError).code).toBe('LIMIT_EXCEEDED');
        },
      );
    }
    await settle();
    expect(acting).toEqual([0, 1, 2, 3]);
    expect(refused).toEqual(Array.from({ length: 4 }, () => 'calls subject'));
    await expect(bounds.beginCall(OTHER)).resolves.toBeTypeOf('function');
    for (let next = 4; next < 16; next += 1) {
      releases.shift()?.();
      await settle();
      expect(acting.at(-1)).toBe(next);
    }
    for (const release of releases) release();
    await settle();
    expect(bounds.held.get('calls')).toBe(1);
  });

  test('one subject begins 240 a minute, its streams included; then its next minute begins', async () => {
    for (let at = 0; at < 239; at += 1) (await bounds.beginCall(WEB))();
    bounds.openStream(WEB)();
    await expect(bounds.beginCall(WEB)).rejects.toThrow('over the limit of requests of one token');
    expect(() => bounds.openStream(WEB)).toThrow('over the limit of requests of one token');
    (await bounds.beginCall(OTHER))();
    clock.advance(60_000);
    (await bounds.beginCall(WEB))();
    expect(refused).toEqual(['requests subject', 'requests subject']);
  });

  test('a fleet of ten thousand at one address stops in one moment', async () => {
    const calls = Array.from({ length: 10_000 }, (_, at) =>
      bounds.beginCall({ subject: `token default/web-${at}`, address: '192.0.2.1' }),
    );
    await expect(Promise.all(calls)).resolves.toHaveLength(10_000);
    expect(refused).toEqual([]);
  });
});

describe('streams', () => {
  test('one subject has four, and gives back what it had', () => {
    const open = Array.from({ length: 4 }, () => bounds.openStream(WEB));
    expect(() => bounds.openStream(WEB)).toThrow('over the limit of streams of one token for one dataplane');
    bounds.openStream(OTHER);
    open[0]?.();
    open[0]?.();
    bounds.openStream(WEB);
    expect(() => bounds.openStream(WEB)).toThrow(OperationalError);
    expect(bounds.held.get('streams')).toBe(5);
  });
});

describe('refusals', () => {
  test('an address gets 50 a second; another address is served at once', async () => {
    let heard = 0;
    for (let at = 0; at < 1_000; at += 1) void bounds.beforeRefusal('192.0.2.66').then(() => (heard += 1));
    await settle();
    expect(heard).toBe(1);
    for (let step = 0; step < 100; step += 1) {
      clock.advance(10);
      await settle();
    }
    expect(heard).toBe(51);
    await expect(bounds.beforeRefusal('192.0.2.1')).resolves.toBeUndefined();
  });
});
