import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { tableAddress, type TcpSocket } from '../../../kernel/socket-table.ts';
import { DarkWatch } from '../../../program/dark-watch.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** Sent, and on its way. */
const ROW: TcpSocket = {
  local: tableAddress('10.0.0.2', 2),
  remote: tableAddress('10.0.0.1', 1),
  isEstablished: true,
  unacknowledged: 1,
  timer: 'retransmission',
  timerMs: 200,
  retransmissions: 0,
  probes: 0,
  inode: '1',
};

let clock: FakeClock;
let readsMs: number[];
let sockets: EventEmitter[];

beforeEach(() => {
  clock = new FakeClock();
  readsMs = [];
  sockets = [];
});

afterEach(async () => {
  for (const socket of sockets) socket.emit('close');
  await clock.settle();
  expect(clock.armed).toBe(0);
});

/** A connection on which something is outstanding for ever, on a host whose table takes `tookMs` to read. */
function watch(tookMs: number): void {
  const darkWatch = new DarkWatch(clock, () => {
    readsMs.push(clock.monotonicMs());
    clock.skip(tookMs);
    return Promise.resolve(new Map([[`0002 ${ROW.remote}`, ROW]]));
  });
  const counters = { bytesRead: 0, bytesWritten: 0, remoteAddress: '10.0.0.1', remotePort: 1, localPort: 2 };
  const socket = Object.assign(new EventEmitter(), counters);
  Object.defineProperty(socket, 'bytesWritten', { get: () => clock.monotonicMs() });
  sockets.push(socket);
  darkWatch.watch(socket as unknown as Socket, () => undefined);
}

function gaps(): readonly number[] {
  return readsMs.slice(1).map((atMs, at) => Math.round((atMs - (readsMs[at] ?? 0)) / 1_000));
}

test('a short table is read every 2 s while something is suspicious', async () => {
  watch(1);
  await clock.pass(60_000);
  expect(new Set(gaps())).toEqual(new Set([2]));
});

test('a table that takes long is read every 4 s, and not less often however long it takes', async () => {
  watch(90);
  await clock.pass(60_000);
  expect(new Set(gaps())).toEqual(new Set([4]));
  const before = readsMs.length;
  expect(before).toBeGreaterThan(12);
});
