import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { freePort } from '../world/free-port.ts';
import { NAMES } from '../world/under-load.ts';
import { waitUntil } from '../world/wait-until.ts';
import { PROJECT_INSIDE } from './booted-systemd.ts';
import { DOCUMENTED_TEMPLATE } from './documented-unit.ts';
import type { Hosted } from './hosted-dataplane.ts';
import { MeshHost } from './mesh-host.ts';

const UNITS = '/etc/systemd/system';
const NODE = `${PROJECT_INSIDE}/scripts/pinned-node`;
const APPLICATION = `${PROJECT_INSIDE}/test/support/systemd/application.ts`;

/** The units of the three dataplanes. */
export interface Units {
  /** `ours`: as installed. `documented`: the unit of Kuma's documentation, one for each name. */
  readonly dataplane: 'ours' | 'documented';
  /** Whether the application's unit has our drop-in. */
  readonly applicationDropIn: boolean;
}

const APPLICATION_UNIT = `[Unit]
After=kuma-dp@%i.service
[Service]
Type=notify
NotifyAccess=all
EnvironmentFile=/etc/default/application-%i
ExecStart=${NODE} ${APPLICATION} %i $PORT
`;

/** Three dataplanes on one host, each with the unit of its application, all of them serving. */
export async function bootThree(layer: string, units: Units): Promise<MeshHost> {
  await using booting = new AsyncDisposableStack();
  const host = booting.use(await MeshHost.boot({ layer }));
  const { systemd } = host;
  if (units.dataplane === 'documented') {
    await systemd.write(`${UNITS}/kuma-dp@.service`, DOCUMENTED_TEMPLATE);
    await systemd.must(['rm', '-r', '/usr/lib/systemd/system/kuma-dp@.service.d']);
  }
  await systemd.write(`${UNITS}/application@.service`, APPLICATION_UNIT);
  if (units.applicationDropIn) await systemd.write(`${UNITS}/application@.service.d/mesh.conf`, dropIn());
  await systemd.systemctl('daemon-reload');
  const dataplanes: Hosted[] = [];
  for (const name of NAMES) {
    const servicePort = await freePort();
    await systemd.write(`/etc/default/application-${name}`, `PORT=${servicePort}\n`);
    dataplanes.push(
      await host.addDataplane(name, {
        unit: `kuma-dp@${name}`,
        servicePort,
        env: { KUMA_DP_AGENT_LIFECYCLE: 'agent' },
      }),
    );
  }
  await systemd.systemctl('start', ...NAMES.flatMap((name) => [`kuma-dp@${name}`, `application@${name}`]));
  await host.untilListed(dataplanes);
  for (const { name, command } of dataplanes)
    await waitUntil(async () => (await fetch(`http://${command.endpoint}/`)).ok, {
      what: `${name} to answer`,
    });
  booting.move();
  return host;
}

/** The shipped drop-in, with the changes that it names for several dataplanes on a host. */
function dropIn(): string {
  const file = join(import.meta.dirname, '../../../systemd/application.conf');
  return readFileSync(file, 'utf8')
    .replaceAll('kuma-dp.service', 'kuma-dp@%i.service')
    .replaceAll(/(agent (?:drain|resume))/g, '$1 --mesh default --name %i');
}
