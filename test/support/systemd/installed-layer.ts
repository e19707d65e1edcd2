import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import { PROJECT_INSIDE } from './booted-systemd.ts';

/** Lays out below `layer` what the packages in a folder install. Their scripts do not run. */
export function extractInto(layer: string, folder: string): void {
  const packages = readdirSync(folder).filter((file) => file.endsWith('.deb'));
  for (const file of packages) execFileSync('dpkg-deb', ['--extract', join(folder, file), layer]);
}

/** A kuma-dp below `layer`, as an operator has installed it. */
export function kumaDpInto(layer: string): void {
  const bin = join(layer, 'usr/bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(`${PROJECT_INSIDE}/test/support/kuma/bin/kuma-dp`, join(bin, 'kuma-dp'));
}
