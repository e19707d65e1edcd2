import { expect, test } from 'vitest';

import { isLoopback, readListenerAddressOrOff } from '../../../kernel/listener-address.ts';

test.for<readonly [host: string, loopback: boolean]>([
  ['localhost', true],
  ['127.0.0.1', true],
  ['127.8.8.8', true],
  ['::1', true],
  ['[::1]', true],
  ['0.0.0.0', false],
  ['::', false],
  ['[::]', false],
  ['10.0.0.7', false],
  ['127.0.0.1.example', false],
  ['localhost.example', false],
  ['', false],
])('isLoopback("%s") is %s', ([host, loopback]) => {
  expect(isLoopback(host)).toBe(loopback);
});

test('readListenerAddressOrOff() knows an address from its absence', () => {
  expect(['off', '[::1]:9100', 'on'].map((text) => readListenerAddressOrOff(text))).toEqual([
    { value: 'off' },
    { value: { kind: 'tcp', host: '::1', port: 9_100 } },
    { problem: 'expected HOST:PORT, [IPV6]:PORT or unix:PATH' },
  ]);
});
