import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';

test('kernel/version.ts says what package.json says', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    readonly version: string;
  };
  expect(VERSION).toBe(version);
});
