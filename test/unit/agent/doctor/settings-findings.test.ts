import { describe, expect, test } from 'vitest';

import {
  environmentNames,
  judgeSettings,
  usualFiles,
  type SettingsGiven,
} from '../../../../agent/doctor/settings-findings.pure.ts';

const AGENTS = '/etc/default/kuma-dp-agent';
const OWN = '/etc/default/kuma-dp';

function judge(given: Partial<SettingsGiven>): readonly string[] {
  const findings = judgeSettings({
    unitId: 'kuma-dp.service',
    environmentFiles: [AGENTS],
    environment: [],
    texts: new Map(),
    flags: [],
    variables: [],
    ...given,
  });
  return findings.map(({ level, about, says }) => `${level} ${about}: ${says}`);
}

describe('judgeSettings()', () => {
  test('says where each setting comes from: the later file, the unit, the command line', () => {
    expect(
      judge({
        environmentFiles: [OWN, AGENTS],
        environment: ['KUMA_DP_AGENT_LIFECYCLE', 'KUMA_DP_AGENT_SETTLE'],
        texts: new Map([
          [OWN, 'KUMA_DP_AGENT_STOP_BUDGET=1s\nKUMA_DP_AGENT_ENDPOINT=http://secret@cp\n'],
          [
            AGENTS,
            '# KUMA_DP_AGENT_ENDPOINT=x\n#KUMA_DP_AGENT_LIFECYCLE=cp\n  KUMA_DP_AGENT_STOP_BUDGET="40s"\n',
          ],
        ]),
        flags: ['--metrics'],
        variables: [
          'KUMA_DP_AGENT_STOP_BUDGET',
          'KUMA_DP_AGENT_ENDPOINT',
          'KUMA_DP_AGENT_LIFECYCLE',
          'KUMA_DP_AGENT_LOG_LEVEL',
        ],
      }),
    ).toEqual([
      `ok settings: --metrics (command line), KUMA_DP_AGENT_STOP_BUDGET (${AGENTS}), KUMA_DP_AGENT_ENDPOINT (${OWN}), KUMA_DP_AGENT_LIFECYCLE (Environment= of the unit), KUMA_DP_AGENT_LOG_LEVEL (the agent's environment)`,
    ]);
  });

  test('says that nothing is set, and that it may not see', () => {
    expect(judge({})).toEqual(['ok settings: none: every setting has its default']);
    expect(judge({ variables: undefined })).toEqual([
      'unseen settings: no agent runs, or this user may not read its environment',
    ]);
  });

  test('names a file that the unit does not read, if it sets anything of ours or kuma-dp’s', () => {
    const texts = new Map([
      ['/etc/sysconfig/kuma-dp-agent', 'KUMA_DP_AGENT_STOP_BUDGET=40s\n'],
      [OWN, 'KUMA_READINESS_PORT=9903\nOTHER=1\n'],
      ['/etc/sysconfig/kuma-dp', '# nothing\n; KUMA_X=1\nOTHER=1\n'],
    ]);
    expect(judge({ texts }).slice(1)).toEqual([
      'warning /etc/sysconfig/kuma-dp-agent: kuma-dp.service does not read it, so it changes nothing: KUMA_DP_AGENT_STOP_BUDGET',
      `warning ${OWN}: kuma-dp.service does not read it, so it changes nothing: KUMA_READINESS_PORT`,
    ]);
  });

  test('says of a line that came after the start that it does not count yet', () => {
    const texts = new Map([[AGENTS, 'KUMA_DP_AGENT_STOP_BUDGET=40s\nKUMA_DP_AGENT_SETTLE=1s\n']]);
    expect(judge({ texts, variables: ['KUMA_DP_AGENT_SETTLE'] }).slice(1)).toEqual([
      `warning ${AGENTS}: the agent was started without KUMA_DP_AGENT_STOP_BUDGET: a change applies from the next start`,
    ]);
    expect(judge({ texts, variables: undefined })).toHaveLength(1);
  });
});

test.for([
  ['A=1 "B=x y" C=', ['A', 'B', 'C']],
  ['"A=\\"x\\" B=2"', ['A']],
  ['', []],
] as const)('the names in Environment=%s', ([text, names]) => {
  expect(environmentNames(text)).toEqual(names);
});

test('the usual files are those of the agent, of kuma-dp and of one of several', () => {
  expect(usualFiles('kuma-dp@web-1.service')).toEqual(
    ['/etc/default', '/etc/sysconfig'].flatMap((folder) =>
      ['kuma-dp-agent', 'kuma-dp', 'kuma-dp-web-1'].map((name) => `${folder}/${name}`),
    ),
  );
});
