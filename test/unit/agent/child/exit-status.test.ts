import { describe, expect, test } from 'vitest';

import {
  describeExit,
  EXIT_CANNOT_EXECUTE,
  EXIT_CONFIG,
  EXIT_NOT_FOUND,
} from '../../../../agent/child/exit-status.pure.ts';

describe('exit status', () => {
  test('uses the numbers that shells and systemd know', () => {
    expect({ EXIT_CONFIG, EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND }).toEqual({
      EXIT_CONFIG: 78,
      EXIT_CANNOT_EXECUTE: 126,
      EXIT_NOT_FOUND: 127,
    });
  });

  test('is described by its code or its signal', () => {
    expect(describeExit({ code: 0, signal: null })).toBe('exit code 0');
    expect(describeExit({ code: null, signal: 'SIGSEGV' })).toBe('signal SIGSEGV');
  });
});
