/**
 * The emulated control plane as a program: `node control-plane-main.ts [--store FILE] [--options JSON]`.
 *
 * Prints one line of JSON, {@link ReadyLine}, when everything listens. SIGTERM and SIGINT stop it gracefully; SIGKILL is
 * the crash. With `--store`, objects survive both.
 */
import { parseArgs } from 'node:util';

import { ControlPlane } from './control-plane.ts';
import { controlPort, type ReadyLine } from './control-port.ts';
import { type ControlPlaneOptions } from './settings.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string' }, options: { type: 'string' } } });
  const options = JSON.parse(values.options ?? '{}') as ControlPlaneOptions;
  const controlPlane = await ControlPlane.start(
    values.store === undefined ? options : { ...options, storeFile: values.store },
  );
  const control = controlPort(controlPlane, controlPlane.settings.host);
  await control.listen();
  const stop = (): void => {
    void Promise.all([control.close(), controlPlane.stop()]);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  const ready: ReadyLine = {
    instanceId: controlPlane.instanceId ?? '',
    ports: { ...controlPlane.ports, control: control.port },
  };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
}

await main();
