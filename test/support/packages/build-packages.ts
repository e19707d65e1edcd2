import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..', '..');

/** The names of both packages. */
const PACKAGES = ['kuma-dp-agent', 'kuma-deregistrar'] as const;
export type PackageName = (typeof PACKAGES)[number];

export interface PackageBuild {
  /** Where the packages go. */
  readonly out: string;
  /** Of the packaging: a higher one is an upgrade. */
  readonly revision?: number;
  /** A checkout that is built; this one if left out. */
  readonly checkout?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The Debian packages alone if left out. */
  readonly formats?: 'all';
  /** This machine's if left out. */
  readonly cpu?: 'x64' | 'arm64';
}

/** Any moment: 2026-02-03 04:05:06 UTC. */
export const EPOCH = Date.UTC(2026, 1, 3, 4, 5, 6) / 1_000;

/** Packs what `npm run build` has left in the checkout. Quick, so larger than what is published. */
export function buildPackages(build: PackageBuild): void {
  const { out, revision = 1, checkout = ROOT, env = {}, formats, cpu = process.arch } = build;
  const only = formats === 'all' ? [] : ['--only', 'deb'];
  const options = ['--fast', ...only, '--cpu', cpu, '--out', out, '--revision', String(revision)];
  execFileSync(process.execPath, ['scripts/package.ts', ...options], {
    cwd: checkout,
    env: { ...process.env, SOURCE_DATE_EPOCH: String(EPOCH), ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
export const ARCHITECTURE = ARCHITECTURES[process.arch] ?? process.arch;

export function packageFile(folder: string, name: PackageName, version: string): string {
  return join(folder, `${name}_${version}_${ARCHITECTURE}.deb`);
}
