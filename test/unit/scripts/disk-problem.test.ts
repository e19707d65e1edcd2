import { describe, expect, it } from 'vitest';

import { diskProblem } from '../../../scripts/disk-problem.ts';

describe('what a file system refused', () => {
  it.each([
    [
      Object.assign(new Error("ENOSPC: no space left on device, write 'dist/a'"), { code: 'ENOSPC' }),
      /Free 300 MB/,
    ],
    [Object.assign(new Error('EDQUOT: disk quota exceeded'), { code: 'EDQUOT' }), /Free 300 MB/],
    [new Error('Build failed with 1 error:\nNo space left on device (os error 28)'), /Free 300 MB/],
    [new AggregateError([new Error('Read-only file system (os error 30)')], 'Build failed'), /read-only/],
    [Object.assign(new Error('EROFS: read-only file system, mkdir'), { code: 'EROFS' }), /read-only/],
    [Object.assign(new Error('EACCES: permission denied, open'), { code: 'EACCES' }), /permission denied/],
    [new Error('cannot write', { cause: new Error('ENOSPC: no space left on device') }), /Free 300 MB/],
  ])('%s is said in one line', (error, says) => {
    expect(diskProblem(error)).toMatch(says);
    expect(diskProblem(error)).not.toContain('\n');
  });

  it.each([new TypeError('x is not a function'), new Error('os error 2810'), 'a text', undefined])(
    '%s is no problem of the disk: it is thrown',
    (error) => {
      expect(diskProblem(error)).toBeUndefined();
    },
  );
});
