import { spawnSync } from 'node:child_process';

import type { TestContext } from 'vitest';

const INSTALLED = spawnSync('promtool', ['--version']).error === undefined;

/**
 * Prometheus' own checks, of Debian's package `prometheus`. Where it is missing the test is skipped with that reason, but
 * not in CI: there it fails.
 */
export function promtool(
  context: TestContext,
  argv: readonly string[],
  options: { readonly cwd?: string; readonly input?: string } = {},
): { readonly code: number | null; readonly output: string } {
  if (!INSTALLED) {
    const reason = 'promtool is missing: apt-get install --no-install-recommends prometheus';
    if (process.env['CI'] === 'true') throw new Error(reason);
    context.skip(reason);
  }
  const { status, stdout, stderr } = spawnSync('promtool', argv, { encoding: 'utf8', ...options });
  return { code: status, output: `${stdout}${stderr}` };
}
