import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder for one test, deleted with it. Its path is short: Unix socket paths are limited to 107 bytes. */
export class TemporaryDir implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'kw-'));

  join(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });
  }
}
