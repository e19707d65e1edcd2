import { readFileSync } from 'node:fs';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The account that runs a server: ours, or for root an account that owns no important files. */
export function unprivilegedAccount(): Account | undefined {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? uid };
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const [, , user, group] = accounts.find(([name]) => name === wanted) ?? [];
    if (user !== undefined && group !== undefined) return { uid: Number(user), gid: Number(group) };
  }
  return undefined;
}
