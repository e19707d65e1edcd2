import { existsSync, readlinkSync } from 'node:fs';

/**
 * The path under which this process sees another process's `path`: PrivateTmp=, DynamicUser= and containers give a
 * service its own folders. The same path if both see the same, or if this user may not look.
 */
export function pathSeenBy(pid: number, path: string): string {
  if (!path.startsWith('/') || sharesRoot(pid)) return path;
  const seen = `/proc/${pid}/root${path}`;
  // A link with an absolute target leads out of that root.
  return existsSync(seen) || !existsSync(path) ? seen : path;
}

/** The words of a command or the values of an environment, with their paths as {@link pathSeenBy} finds them. */
export function wordSeenBy(pid: number, word: string): string {
  const [, flag = '', path = ''] = /^(--?[\w-]+=)?(\/.*)$/s.exec(word) ?? [];
  if (path === '') return word;
  const seen = pathSeenBy(pid, path);
  return existsSync(seen) ? `${flag}${seen}` : word;
}

function sharesRoot(pid: number): boolean {
  try {
    return mountsOf(pid) === mountsOf('self') && readlinkSync(`/proc/${pid}/root`) === '/';
  } catch {
    return true;
  }
}

function mountsOf(process: number | 'self'): string {
  return readlinkSync(`/proc/${process}/ns/mnt`);
}
