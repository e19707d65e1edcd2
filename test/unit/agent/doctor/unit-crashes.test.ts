import { expect, test } from 'vitest';

import { judgeCrashes } from '../../../../agent/doctor/unit-crashes.pure.ts';
import { readUnitSettings, UNIT_PROPERTIES } from '../../../../agent/systemd/systemd-unit.pure.ts';

function judge(...lines: readonly string[]): readonly string[] {
  const unit = readUnitSettings(['Id=kuma-dp.service', 'LoadState=loaded', ...lines].join('\n'));
  return judgeCrashes(unit).map(
    ({ level, about, says, remedy }) => `${level} ${about}: ${says} -> ${remedy}`,
  );
}

const LOOP = ['NRestarts=7', 'ActiveState=activating', 'Result=signal', 'ExecMainCode=2'];

test('a unit that runs has nothing to say, also after a restart or two', () => {
  expect(judge('ActiveState=active', 'NRestarts=2', 'LimitAS=infinity', 'MemoryDenyWriteExecute=no')).toEqual(
    [],
  );
});

test.each([
  [['ExecMainStatus=5', 'MemoryDenyWriteExecute=yes'], 'SIGTRAP', 'MemoryDenyWriteExecute=no'],
  [['ExecMainStatus=6', 'LimitAS=2147483648'], 'SIGABRT', 'LimitAS=infinity'],
  [['ExecMainStatus=11', 'ExecMainCode=3', 'LimitAS=1073741824'], 'SIGSEGV', 'LimitAS=infinity'],
  [['ExecMainStatus=31'], 'SIGSYS', 'SystemCallFilter='],
  [['ExecMainStatus=9', 'Result=oom-kill'], 'SIGKILL (oom-kill)', 'a larger MemoryMax='],
  [['ExecMainStatus=9'], 'SIGKILL', 'MemoryMax='],
  [['ExecMainStatus=24'], 'SIGXCPU', 'LimitCPU=infinity'],
  [['ExecMainStatus=36'], 'signal 36', 'journalctl -u kuma-dp.service'],
  [['ExecMainCode=1', 'ExecMainStatus=78'], 'status 78, a setting is wrong', 'journalctl'],
  [['ExecMainCode=1', 'ExecMainStatus=203'], 'status 203, the program of ExecStart=', 'journalctl'],
  [['ExecMainCode=1', 'ExecMainStatus=1'], 'status 1 ', 'journalctl'],
] as const)('a crash loop with %j names its last end and its cause', (lines, end, remedy) => {
  const loop = judge(...LOOP, ...lines).find((line) => line.startsWith('failure crash loop'));
  expect(loop).toContain('restarted it 7 times');
  expect(loop).toContain(end);
  expect(loop).toContain(`-> ${remedy}`.split('=')[0]);
});

test('a unit that runs again after many restarts is a warning', () => {
  expect(judge('NRestarts=12', 'ActiveState=active', 'ExecMainCode=2', 'ExecMainStatus=11')[0]).toMatch(
    /^warning restarts: .* 12 times/,
  );
});

test('a setting that keeps the agent from starting is named before it has crashed', () => {
  expect(judge('MemoryDenyWriteExecute=yes')[0]).toMatch(/^failure MemoryDenyWriteExecute/);
  expect(judge('LimitAS=4294967296')[0]).toMatch(/^warning LimitAS/);
});

test('systemd is asked for all of it', () => {
  expect(UNIT_PROPERTIES).toEqual(
    expect.arrayContaining([
      'NRestarts',
      'ExecMainCode',
      'ExecMainStatus',
      'MemoryDenyWriteExecute',
      'LimitAS',
    ]),
  );
});
