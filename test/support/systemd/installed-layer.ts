import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { PROJECT_INSIDE } from './booted-systemd.ts';

const PACKAGE = join(import.meta.dirname, '../../../scripts/package.ts');

/** Lays out below `layer` what the packages install, and a kuma-dp for them to run. Their scripts run at no time. */
export function installInto(layer: string): void {
  const packages = join(layer, 'packages');
  execFileSync(process.execPath, [PACKAGE, '--compression', 'zstd', '--out', packages], { stdio: 'pipe' });
  for (const file of readdirSync(packages))
    execFileSync('dpkg-deb', ['--extract', join(packages, file), layer]);
  rmSync(packages, { recursive: true });
  symlinkSync(`${PROJECT_INSIDE}/test/support/kuma/bin/kuma-dp`, join(layer, 'usr/bin/kuma-dp'));
}
