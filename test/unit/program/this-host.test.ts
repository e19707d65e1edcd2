import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { expect, test } from 'vitest';

import { thisHost } from '../../../program/this-host.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

test('hosts of one name have names of their own here, which do not tell their machine id', () => {
  using dir = new TemporaryDir();
  const host = (id: string): string => {
    writeFileSync(dir.join('machine-id'), `${id}\n`);
    return thisHost(dir.join('machine-id'));
  };
  const [one, other] = [host('0123456789abcdef0123456789abcdef'), host('fedcba9876543210fedcba9876543210')];
  expect(one).not.toBe(other);
  expect(one).toMatch(new RegExp(`^${RegExp.escape(hostname())}#[0-9a-f]{8}$`));
  expect(one).not.toContain('01234567');
  expect(host('0123456789abcdef0123456789abcdef'), 'the same after a restart').toBe(one);
});

test('a host without a machine id has its name', () => {
  expect(thisHost('/nonexistent/machine-id')).toBe(hostname());
});
