import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { RUN_OPTIONS } from '../../agent/options.ts';
import { STOP_WISHES } from '../../agent/core/stop-budget.ts';
import { formatDuration } from '../../kernel/duration.ts';
import { README, withOptionTables } from '../../scripts/readme-options.ts';
import { AGENT } from '../support/world/fleet.ts';
import { ManagedProcess } from '../support/world/managed-process.ts';

const readme = readFileSync(README, 'utf8');

describe('README.md', () => {
  test('has the options that the code has: otherwise run "npm run readme"', () => {
    expect(readme).toBe(withOptionTables(readme));
  });

  test('the comparison notices a changed default', () => {
    const changed = readme.replace('| 60s |', '| 61s |');
    expect(changed).not.toBe(readme);
    expect(withOptionTables(changed)).toBe(readme);
  });

  test.for([
    ['deregister', STOP_WISHES.deregisterMs],
    ['exit', STOP_WISHES.exitMs],
    ['confirm', STOP_WISHES.confirmMs],
  ] as const)('states how long the step "%s" may take', ([step, wishMs]) => {
    const row = readme.split('\n').find((line) => line.startsWith(`| ${step} |`));
    expect(row).toContain(`| ${formatDuration(wishMs).replace('s', ' s')}`);
  });

  test('--help lists every option with its environment variable', async () => {
    await using help = new ManagedProcess({ command: AGENT, argv: ['run', '--help'] });
    expect(await help.exited).toMatchObject({ code: 0 });
    for (const { flag } of Object.values(RUN_OPTIONS)) {
      expect(help.stdout).toContain(`--${flag}`);
      expect(help.stdout).toContain(`KUMA_DP_AGENT_${flag.toUpperCase().replaceAll('-', '_')}`);
    }
  });
});
