import { describe, expect, test } from 'vitest';

import { mergeFields, readNotifyTarget, toAssignments } from '../../../kernel/service-fields.ts';

describe('toAssignments()', () => {
  test('writes the given fields, and nothing else', () => {
    expect(toAssignments({})).toEqual([]);
    expect(
      toAssignments({ ready: true, stopping: true, status: 'a\nb  c', extendMs: 1_500.0009, alive: true }),
    ).toEqual(['READY=1', 'STOPPING=1', 'STATUS=a b c', 'EXTEND_TIMEOUT_USEC=1500000', 'WATCHDOG=1']);
  });
});

describe('mergeFields()', () => {
  test('loses no one-time message, and keeps the later status', () => {
    expect(mergeFields({ ready: true, status: 'a' }, { stopping: true, status: 'b' })).toEqual({
      ready: true,
      stopping: true,
      status: 'b',
    });
    expect(mergeFields(undefined, { alive: true })).toEqual({ alive: true });
  });
});

describe('readNotifyTarget()', () => {
  const socket = '/run/systemd/notify';
  test.for([
    { env: {}, target: undefined },
    { env: { NOTIFY_SOCKET: '' }, target: undefined },
    { env: { WATCHDOG_USEC: '2000000' }, target: undefined },
    { env: { NOTIFY_SOCKET: socket }, target: { socket, watchdogMs: undefined } },
    { env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' }, target: { socket, watchdogMs: 2_000 } },
    {
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000', WATCHDOG_PID: '7' },
      target: { socket, watchdogMs: 2_000 },
    },
    {
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000', WATCHDOG_PID: '8' },
      target: { socket, watchdogMs: undefined },
    },
    { env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: 'soon' }, target: { socket, watchdogMs: undefined } },
    { env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '0' }, target: { socket, watchdogMs: undefined } },
  ])('$env', ({ env, target }) => {
    expect(readNotifyTarget(env, 7)).toEqual(target);
  });
});
