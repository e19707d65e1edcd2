/** Only what leaves Node's own compiled code valid: an option that changes code generation costs 15 ms of each start. */
const NODE_FLAGS = [
  // Node loads its own roots in advance unless told otherwise, 1 MB that whoever names a CA does not need. For the
  // others the agent loads them, and the host's (`agent/object/kuma-rest-endpoint.io.ts`).
  '--use-openssl-ca',
  // Young objects are few: a small nursery costs nothing and saves 0.6 MB.
  '--max-semi-space-size=1',
] as const;

/**
 * What `/usr/bin/NAME` and `dist/bin/NAME` are. No process more than Node itself: the shell only finds its own place and
 * replaces itself, so that whoever started it (systemd's MainPID) has the program.
 *
 * @param place paths relative to the folder above the launcher's own. `nodes`: the first that is there is taken, and
 *   the one on `PATH` where there are several and none is there
 */
export function launcher(place: { readonly nodes: readonly string[]; readonly main: string }): string {
  const [first = 'node', ...others] = place.nodes.map((node) => `$base/${node}`);
  const fallbacks = others.length === 0 ? [] : [...others, 'node'];
  return `#!/bin/sh
self=$0
[ -L "$self" ] && self=$(readlink -f -- "$self")
base=\${self%/*}/..
node=${first}
${fallbacks.map((node) => `[ -x "$node" ] || node=${node}\n`).join('')}exec "$node" ${NODE_FLAGS.join(' ')} "$base/${place.main}" "$@"
`;
}
