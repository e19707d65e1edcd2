import { spawnSync } from 'node:child_process';
import process from 'node:process';

import { canMakeNetworkNamespaces } from '../test/support/namespaces.ts';

export type Isolation =
  | { readonly kind: 'here' }
  /** Another process has played it all. */
  | { readonly kind: 'elsewhere'; readonly exitCode: number }
  | { readonly kind: 'missing'; readonly reason: string };

const MARK = 'KUMA_DEMO_ISOLATED';
const UNSHARE = ['--user', '--map-root-user', '--net', '--mount'];
/** `ip netns` keeps its names below /run. */
const BEGIN = 'ip link set lo up && mount -t tmpfs none /run && exec "$0" "$@"';

/** Hosts of their own need network namespaces. A user who may not make them gets them in a user namespace. */
export function isolate(): Isolation {
  if (canMakeNetworkNamespaces()) return { kind: 'here' };
  if (process.env[MARK] !== undefined) return { kind: 'missing', reason: 'ip netns fails here' };
  if (spawnSync('unshare', [...UNSHARE, 'sh', '-c', BEGIN, 'true']).status !== 0)
    return { kind: 'missing', reason: 'run it as root, with iproute2' };
  const { status } = spawnSync(
    'unshare',
    [...UNSHARE, 'sh', '-c', BEGIN, process.execPath, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } },
  );
  return { kind: 'elsewhere', exitCode: status ?? 1 };
}
