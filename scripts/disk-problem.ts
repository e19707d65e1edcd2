import { inspect } from 'node:util';

/** As Node says it, and as programs in Rust and C do. */
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

/** @returns why a file could not be written, and what to do, where the file system and not the code is to blame */
export function diskProblem(error: unknown): string | undefined {
  const text = inspect(error, { depth: 4 });
  return PROBLEMS.find(([pattern]) => pattern.test(text))?.[1];
}
