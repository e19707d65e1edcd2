import { freePort } from '../world/free-port.ts';
import { TemporaryDir } from '../world/temporary-dir.ts';
import { waitUntil } from '../world/wait-until.ts';
import { type KumaWorld, type KumaZones, type WorldOptions } from './kuma-world.ts';
import { meshPolicies } from './mesh-policies.ts';
import { ObjectClient } from './object-client.ts';
import { RealControlPlane } from './real-control-plane.ts';
import { eventBased, type KumaBinaries, RealWorld } from './real-world.ts';

/** Two zones and their global control plane, on real binaries with stores in memory. */
export async function realZones(binaries: KumaBinaries, options: WorldOptions): Promise<KumaZones> {
  await using opening = new AsyncDisposableStack();
  const dir = opening.use(new TemporaryDir());
  const globalPort = await freePort();
  const mesh = { ...options, mtls: true };
  const global = opening.use(
    await RealControlPlane.create({
      command: binaries.controlPlane,
      dir: dir.join('global'),
      database: undefined,
      env: {
        KUMA_MODE: 'global',
        KUMA_MULTIZONE_GLOBAL_KDS_GRPC_PORT: String(globalPort),
        ...eventBased(options.kdsFlushMs),
      },
    }),
  );
  await global.start();
  const client = new ObjectClient(global.restUrl);
  for (const { path, body } of meshPolicies(mesh)) {
    const { status } = await client.call(path, { method: 'PUT', body });
    if (status >= 300) throw new Error(`PUT ${path}: ${status}`);
  }
  const one = opening.use(await RealWorld.create(binaries, { ...mesh, globalPort, zone: 'z1' }));
  const two = opening.use(await RealWorld.create(binaries, { ...mesh, globalPort, zone: 'z2' }));
  await untilSynchronized(one);
  await untilSynchronized(two);
  const opened = opening.move();
  return { one, two, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function untilSynchronized({ restUrl }: KumaWorld): Promise<void> {
  const client = new ObjectClient(restUrl);
  await waitUntil(
    async () => {
      // What comes from the global control plane has a hash after its name.
      const { body } = await client.call('/meshes/default/meshtrafficpermissions');
      return (body as { readonly total?: number } | undefined)?.total === 1;
    },
    { what: 'the mesh and its policies to come to the zone', budgetMs: 60_000, pollMs: 100 },
  );
}
