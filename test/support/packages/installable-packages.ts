import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

import { VERSION } from '../../../kernel/version.ts';
import { PROJECT_INSIDE, type BootedSystemd } from '../systemd/booted-systemd.ts';
import { kumaDpInto } from '../systemd/installed-layer.ts';
import { buildPackages, packageFile, type PackageName } from './build-packages.ts';

const CACHE = join(import.meta.dirname, '..', '..', '..', '.cache');

/** Both packages in two revisions where a booted host sees them, and the files that it has before any is installed. */
export class InstallablePackages implements Disposable {
  readonly #folder: string;

  constructor() {
    mkdirSync(CACHE, { recursive: true });
    this.#folder = mkdtempSync(join(CACHE, 'packages-'));
    for (const revision of [1, 2]) buildPackages({ out: this.#folder, revision });
    kumaDpInto(this.layer);
  }

  /** For a host that has kuma-dp and nothing of ours. */
  get layer(): string {
    return join(this.#folder, 'layer');
  }

  /** @returns what dpkg and the maintainer scripts said */
  async install(systemd: BootedSystemd, name: PackageName, revision: 1 | 2): Promise<string> {
    // Where this machine is a container, it forbids services to be restarted.
    await systemd.must(['rm', '-f', '/usr/sbin/policy-rc.d']);
    const file = basename(packageFile(this.#folder, name, `${VERSION}-${revision}`));
    const folder = `${PROJECT_INSIDE}/.cache/${basename(this.#folder)}`;
    // Triggers would rebuild the index of all manual pages of this machine.
    const { code, stdout, stderr } = await systemd.run([
      'dpkg',
      '--no-triggers',
      '--install',
      `${folder}/${file}`,
    ]);
    if (code !== 0) throw new Error(`dpkg ended with ${code}:\n${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
