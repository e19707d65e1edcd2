import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { ENV_PREFIX as AGENT_PREFIX, RUN_OPTIONS } from '../../agent/options.ts';
import { ENV_PREFIX as COMPANION_PREFIX } from '../../control-plane/options.ts';
import { environmentName } from '../../kernel/options.ts';
import { OPTIONS_PAGE, withOptionTables } from '../../scripts/readme-options.ts';
import { AGENT } from '../support/world/fleet.ts';
import { ManagedProcess } from '../support/world/managed-process.ts';

const page = readFileSync(OPTIONS_PAGE, 'utf8');

describe('docs/reference/options.md', () => {
  test('has the options that the code has: otherwise run "npm run readme"', () => {
    expect(page).toBe(withOptionTables(page));
  });

  test('the comparison notices a changed default', () => {
    const changed = page.replace('| 60s |', '| 61s |');
    expect(changed).not.toBe(page);
    expect(withOptionTables(changed)).toBe(page);
  });

  test('names an environment variable of each program as the code does', () => {
    expect(page).toContain(
      `\`--stop-budget\` of the agent is \`${environmentName(AGENT_PREFIX, 'stop-budget')}\``,
    );
    expect(page).toContain(`\`--grace\` of the companion\n\`${environmentName(COMPANION_PREFIX, 'grace')}\``);
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
