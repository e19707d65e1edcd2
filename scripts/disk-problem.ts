import { inspect } from 'node:util';

/** The words of Node, and of programs in Rust and C. */
const PROBLEMS: readonly (readonly [RegExp, string])[] = [
  [
    /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded|os error (?:28|122)\b/,
    'no space left on the disk. Free 300 MB',
  ],
  [
    /EROFS|Read-only file system|os error 30\b/,
    'the file system is read-only. Use a folder that you can write to',
  ],
  [/EACCES|EPERM|Permission denied|os error 13\b/, 'permission denied. Make the folder writable'],
];

/** @returns why a file could not be written, and what to do, if the file system is to blame and not the code */
export function diskProblem(error: unknown): string | undefined {
  const text = inspect(error, { depth: 4 });
  return PROBLEMS.find(([pattern]) => pattern.test(text))?.[1];
}
