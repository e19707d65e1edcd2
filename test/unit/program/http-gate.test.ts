import { writeFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { guarded } from '../../../program/http-gate.ts';
import { TemporaryDir } from '../../support/world/temporary-dir.ts';

const TOKEN = 'a-token-of-more-than-16';

describe('a token file', () => {
  test.for([
    ['is empty', ''],
    ['is short', 'short\n'],
    ['has two lines', `${TOKEN}\n${TOKEN}`],
    ['is a page', 'x'.repeat(513)],
  ] as const)('that %s is refused, and not quoted', ([, text]) => {
    using dir = new TemporaryDir();
    const file = dir.join('token');
    writeFileSync(file, text);
    expect(() => guarded([], file, () => {})).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: `Cannot use "${file}" as a token of 16 to 512 visible characters: this is not a token of 16 to 512 visible characters`,
      }),
    );
  });
});
