import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { PROJECT_INSIDE } from './booted-systemd.ts';

const PROJECT = join(import.meta.dirname, '..', '..', '..');

/** Lays out below `layer` what the packages install, and a kuma-dp for them to run. */
export function installInto(layer: string): void {
  const bin = join(layer, 'usr/bin');
  const lib = join(layer, 'usr/lib');
  mkdirSync(bin, { recursive: true });
  for (const name of ['kuma-dp-agent', 'kuma-deregistrar'])
    symlinkSync(`${PROJECT_INSIDE}/dist/bin/${name}`, join(bin, name));
  for (const name of ['kuma-dp.service', 'kuma-dp@.service', 'kuma-deregistrar.service'])
    cpSync(join(PROJECT, 'systemd', name), join(lib, 'systemd/system', name));
  for (const unit of ['kuma-dp.service', 'kuma-dp@.service'])
    cpSync(
      join(PROJECT, 'systemd/kuma-dp-agent.conf'),
      join(lib, 'systemd/system', `${unit}.d`, '10-kuma-dp-agent.conf'),
    );
  for (const name of ['sysusers.d', 'tmpfiles.d'])
    cpSync(join(PROJECT, 'systemd', name), join(lib, name), { recursive: true });
  symlinkSync(`${PROJECT_INSIDE}/test/support/kuma/bin/kuma-dp`, join(bin, 'kuma-dp'));
}
