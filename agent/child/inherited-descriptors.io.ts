import { readdirSync, readlinkSync } from 'node:fs';

/**
 * The descriptors beside the standard ones that this process was started with, such as a shell's `3<file` or systemd's
 * sockets. Node closes them in its children unless each is listed. Node's own are left out: those of its event loop are
 * anonymous inodes, and of its pipes it holds both ends.
 */
export function inheritedDescriptors(): readonly number[] {
  const open = openDescriptors()
    .filter((fd) => fd > 2)
    .map((fd) => ({ fd, target: linkOf(fd) }));
  const ends = Map.groupBy(open, ({ target }) => target);
  return open
    .filter(({ target }) => target !== undefined && !target.startsWith('anon_inode:'))
    .filter(({ target }) => !target?.startsWith('pipe:') || ends.get(target)?.length === 1)
    .map(({ fd }) => fd);
}

/** @returns none where there is no /proc, as in a bare chroot: kuma-dp is started all the same */
function openDescriptors(): readonly number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number);
  } catch {
    return [];
  }
}

/** @returns `undefined` for the one that listed the folder, which is closed by now */
function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
