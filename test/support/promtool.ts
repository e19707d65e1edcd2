import { spawnSync } from 'node:child_process';

import type { TestContext } from 'vitest';

import { need } from './need.ts';

/** Prometheus' own checks. */
export function promtool(
  context: TestContext,
  argv: readonly string[],
  options: { readonly cwd?: string; readonly input?: string } = {},
): { readonly code: number | null; readonly output: string } {
  need(context, 'promtool');
  const { status, stdout, stderr } = spawnSync('promtool', argv, { encoding: 'utf8', ...options });
  return { code: status, output: `${stdout}${stderr}` };
}
