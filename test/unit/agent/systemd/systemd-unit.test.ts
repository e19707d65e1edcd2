import { describe, expect, test } from 'vitest';

import {
  applicationsOf,
  isRestartJob,
  parseTimeSpan,
  readOrderedUnits,
  readUnitSettings,
  unitOfCgroup,
  userManagerOf,
  whoSets,
} from '../../../../agent/systemd/systemd-unit.pure.ts';

describe('parseTimeSpan()', () => {
  test.for<[string, number | undefined]>([
    ['1min 15s', 75_000],
    ['5s', 5_000],
    ['1min 30.500s', 90_500],
    ['500ms', 500],
    ['2h 1min', 7_260_000],
    ['1d', 86_400_000],
    ['infinity', Number.POSITIVE_INFINITY],
    ['0', 0],
    ['', undefined],
    ['75', undefined],
    ['1 month', undefined],
  ])('%j', ([text, durationMs]) => {
    expect(parseTimeSpan(text)).toBe(durationMs);
  });
});

describe('readUnitSettings()', () => {
  test('reads what systemctl shows', () => {
    const text =
      'Id=a.service\nLoadState=loaded\nMainPID=42\nTimeoutStopUSec=1min 15s\nAfter=x.target  y.target\n';
    expect(readUnitSettings(text)).toMatchObject({
      id: 'a.service',
      mainPid: 42,
      timeoutStopMs: 75_000,
      after: new Set(['x.target', 'y.target']),
    });
  });

  test('counts a missing property as unknown', () => {
    expect(readUnitSettings('MainPID=0\n')).toMatchObject({
      id: '',
      mainPid: undefined,
      timeoutStopMs: undefined,
      needsReload: false,
      after: new Set(),
    });
  });
});

describe('what else is in force', () => {
  /** As systemd 252 prints it. */
  const SHOWN = [
    'Restart=always',
    'SendSIGKILL=no',
    'FinalKillSignal=15',
    'ExecStopPost={ path=/usr/bin/true ; argv[]=/usr/bin/true ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }',
    'ExecStopPost={ path=/usr/bin/kuma-dp-agent ; argv[]=/usr/bin/kuma-dp-agent deregister --state /run/a ; ignore_errors=yes ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }',
    'RuntimeDirectory=a b',
    'RuntimeDirectoryPreserve=no',
    'LimitNOFILE=524288',
    'DefaultDependencies=no',
    'Conflicts=shutdown.target',
    'Before=shop.service multi-user.target systemd-user-sessions.service',
  ].join('\n');

  test('is read from what systemctl shows', () => {
    expect(readUnitSettings(SHOWN)).toMatchObject({
      restart: 'always',
      sendSigkill: false,
      finalKillSignal: '15',
      execStopPost: ['/usr/bin/true', '/usr/bin/kuma-dp-agent deregister --state /run/a'],
      runtimeDirectories: ['a', 'b'],
      runtimeDirectoryPreserve: 'no',
      limitNofile: 524_288,
      defaultDependencies: false,
      conflicts: new Set(['shutdown.target']),
    });
    expect(readUnitSettings('LimitNOFILE=infinity')).toMatchObject({
      limitNofile: Number.POSITIVE_INFINITY,
      defaultDependencies: true,
      sendSigkill: true,
      execStopPost: [],
    });
  });

  test('the services that stop first are known, and which of them drain', () => {
    expect(applicationsOf(readUnitSettings(SHOWN))).toEqual(['shop.service']);
    const drains = 'argv[]=/usr/bin/kuma-dp-agent drain --wait ; ignore_errors=yes ; ';
    const text = `Id=shop.service\nLoadState=loaded\nExecStop={ path=/usr/bin/x ; ${drains}}\n\nId=cron.service\nLoadState=loaded\n\nId=gone.service\nLoadState=not-found\n`;
    expect(readOrderedUnits(text)).toEqual([
      { id: 'shop.service', drains: true },
      { id: 'cron.service', drains: false },
    ]);
    expect(readOrderedUnits('')).toEqual([]);
  });
});

describe('whoSets()', () => {
  const CAT = `# /lib/systemd/system/kuma-dp.service
[Service]
# KillMode=none
KillMode=mixed

# /etc/systemd/system/kuma-dp.service.d/a.conf
[Service]
KillMode = process
`;
  test('names the last file that sets it', () => {
    expect(whoSets(CAT, 'KillMode')).toBe('/etc/systemd/system/kuma-dp.service.d/a.conf');
    expect(whoSets(CAT.split('\n\n')[0] ?? '', 'KillMode')).toBe('/lib/systemd/system/kuma-dp.service');
  });
  test('knows when no file sets it, not even a comment', () => {
    expect(whoSets(CAT, 'TimeoutStopSec')).toBeUndefined();
    expect(whoSets('# /a\n# Kill=1\n', 'Kill')).toBeUndefined();
  });
});

describe('unitOfCgroup()', () => {
  test.for<[string, string | undefined]>([
    ['0::/system.slice/kuma-dp.service\n', 'kuma-dp.service'],
    ['0::/system.slice/system-kuma\\x2ddp.slice/kuma-dp@a.service\n', 'kuma-dp@a.service'],
    ['12:cpu:/x\n1:name=systemd:/system.slice/kuma-dp.service\n', 'kuma-dp.service'],
    ['9:name=systemd:/\n0::/system.slice/kuma-dp.service\n', 'kuma-dp.service'],
    ['0::/user.slice/user-0.slice/user@0.service/app.slice/a.service\n', 'a.service'],
    ['0::/user.slice/user-0.slice/user@0.service/init.scope\n', undefined],
    ['0::/\n', undefined],
    ['', undefined],
  ])('%j', ([cgroup, unit]) => {
    expect(unitOfCgroup(cgroup)).toBe(unit);
  });
});

test.for<[string, number | undefined]>([
  ['0::/user.slice/user-1000.slice/user@1000.service/app.slice/kuma-dp.service\n', 1000],
  ['0::/user.slice/user-0.slice/user@0.service/app.slice/app-a.slice/a@b.service\n', 0],
  ['0::/user.slice/user-0.slice/user@0.service/init.scope\n', undefined],
  ['0::/user.slice/user-0.slice/session-3.scope\n', undefined],
  ['0::/system.slice/kuma-dp.service\n', undefined],
])('userManagerOf(%j)', ([cgroup, uid]) => {
  expect(userManagerOf(cgroup)).toBe(uid);
});

describe('isRestartJob()', () => {
  test.for([
    { name: 'systemctl restart', jobs: '  141 kuma-dp.service restart running\n', restart: true },
    { name: 'systemctl try-restart', jobs: '141 kuma-dp.service try-restart running', restart: true },
    { name: 'systemctl stop', jobs: '141 kuma-dp.service stop running\n', restart: false },
    {
      name: 'another unit is restarted',
      jobs: '9 web.service restart waiting\n141 kuma-dp.service stop running\n',
      restart: false,
    },
    { name: 'no job', jobs: '', restart: false },
    { name: 'what is no list of jobs', jobs: 'No jobs running.', restart: false },
  ])('$name: $restart', ({ jobs, restart }) => {
    expect(isRestartJob(jobs, 'kuma-dp.service')).toBe(restart);
  });
});
