import { DatabaseError } from 'pg';
import { expect, test } from 'vitest';

import { sessionHealth } from '../../../../control-plane/store/postgres-errors.ts';

function errorOf(code: string, severity = 'ERROR'): DatabaseError {
  return Object.assign(new DatabaseError('no', 2, 'error'), { code, severity });
}

test.each([
  ['55P03', 'usable'],
  ['40P01', 'usable'],
  ['40001', 'usable'],
  ['57014', 'usable'],
  ['23505', 'usable'],
  ['25006', 'server spent'],
  ['57P01', 'server spent'],
  ['57P02', 'server spent'],
  ['57P03', 'server spent'],
  ['57P04', 'server spent'],
  ['57P05', 'spent'],
  ['08000', 'spent'],
  ['08006', 'spent'],
  ['08P01', 'spent'],
  ['25P02', 'spent'],
  ['42501', 'spent'],
  ['42P01', 'spent'],
  ['53200', 'spent'],
  ['XX000', 'spent'],
  ['', 'spent'],
])('SQLSTATE %s leaves the session %s', (code, health) => {
  expect(sessionHealth(errorOf(code))).toBe(health);
});

test('an error that ends the session leaves nothing to use, and so does a connection without an answer', () => {
  expect(sessionHealth(errorOf('55P03', 'FATAL'))).toBe('spent');
  expect(sessionHealth(new Error('ECONNRESET'))).toBe('spent');
});
