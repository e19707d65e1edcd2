import { Federation } from '../kuma/federation.ts';
import { type KumaVersion } from '../kuma/version-traits.ts';
import { EmulatedWorld } from './emulated-world.ts';
import { type KumaZones, type WorldOptions } from './kuma-world.ts';

/** No process listens there: zones of the emulator hear of each other in this process. */
const GLOBAL_PORT = 5685;

/** Two emulated zones of one mesh. */
export async function emulatedZones(version: KumaVersion, options: WorldOptions): Promise<KumaZones> {
  await using opening = new AsyncDisposableStack();
  const federation = new Federation();
  const shared = { ...options, mtls: true, defaultTiming: true, globalPort: GLOBAL_PORT };
  const one = opening.use(await EmulatedWorld.create(version, { ...shared, zone: 'z1' }, federation));
  const two = opening.use(await EmulatedWorld.create(version, { ...shared, zone: 'z2' }, federation));
  const opened = opening.move();
  return { one, two, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
