import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { TLS_FIXTURES } from '../kuma/control-plane.ts';
import {
  dataplaneCommand,
  type DataplaneCommand,
  type DataplaneOptions,
} from '../world/dataplane-command.ts';
import type { BootedSystemd } from './booted-systemd.ts';

export interface HostedOptions extends Pick<DataplaneOptions, 'drainTime'> {
  /** `kuma-dp`, or `kuma-dp@NAME`, whose files are named after NAME. */
  readonly unit: string;
  /** Where its application listens. */
  readonly servicePort?: number;
  /** More lines of the unit's environment file. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A dataplane that a unit of a booted host runs. */
export interface Hosted {
  readonly name: string;
  /** With its suffix. */
  readonly unit: string;
  readonly command: DataplaneCommand;
}

interface Installation extends HostedOptions {
  readonly systemd: BootedSystemd;
  readonly name: string;
  readonly service: string;
  readonly servicePort: number;
  readonly token: string;
  /** `--cp-address` */
  readonly dataplaneUrl: string;
  /** Where to deregister. */
  readonly endpoint: string;
}

/** Writes the files that a unit of ours reads, as an operator would; does not start it. */
export async function installDataplane(installation: Installation): Promise<Hosted> {
  const { systemd, name, unit, dataplaneUrl, endpoint, drainTime = '30s', env = {} } = installation;
  const command = await dataplaneCommand({
    controlPlaneUrl: dataplaneUrl,
    name,
    service: installation.service,
    servicePort: installation.servicePort,
    drainTime,
    workDir: `/tmp/${name}`,
  });
  const settings = {
    KUMA_CONTROL_PLANE_URL: dataplaneUrl,
    KUMA_DATAPLANE_DRAIN_TIME: drainTime,
    KUMA_DNS_ENABLED: 'false',
    KUMA_DP_AGENT_ENDPOINT: endpoint,
    KUMA_READINESS_PORT: String(command.readinessPort),
    ...env,
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  const [, instance] = unit.split('@');
  const [resource, tokenFile, defaults] =
    instance === undefined
      ? ['dataplane.yaml', 'token', 'kuma-dp']
      : [`${instance}.yaml`, `${instance}.token`, `kuma-dp-${instance}`];
  await systemd.write('/etc/kuma-dp/ca.crt', readFileSync(join(TLS_FIXTURES, 'ca.crt'), 'utf8'));
  await systemd.write(`/etc/kuma-dp/${resource}`, JSON.stringify(command.resource));
  await systemd.write(`/etc/kuma-dp/${tokenFile}`, installation.token);
  await systemd.write(`/etc/default/${defaults}`, lines.join(''));
  return { name, unit: `${unit}.service`, command };
}
