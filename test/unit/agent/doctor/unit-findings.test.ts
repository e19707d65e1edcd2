import { describe, expect, test } from 'vitest';

import { readUnitSettings, type UnitSettings } from '../../../../agent/systemd/systemd-unit.pure.ts';
import { judgeUnit, type UnitGiven } from '../../../../agent/doctor/unit-findings.pure.ts';
import type { Finding } from '../../../../kernel/findings.ts';

const UNIT: UnitSettings = {
  ...readUnitSettings(''),
  id: 'kuma-dp.service',
  loadState: 'loaded',
  type: 'notify',
  notifyAccess: 'all',
  killMode: 'mixed',
  killSignal: '15',
  timeoutStopMs: 75_000,
  timeoutStartMs: Number.POSITIVE_INFINITY,
  mainPid: 42,
  after: new Set(['network-online.target', 'nss-lookup.target', 'time-sync.target']),
  user: 'kuma-dp',
};
const AGENT = ['/opt/node', '/usr/lib/kuma-dp-agent/main.js', 'run', '--', 'kuma-dp', 'run'];

function judge(unit: Partial<UnitSettings>, given: Partial<UnitGiven> = {}): readonly Finding[] {
  const base = { cat: '', budgetMs: 60_000, mainArgv: ['/usr/bin/kuma-dp-agent', 'run'], needsNames: true };
  return judgeUnit({ ...base, ...given, unit: { ...UNIT, ...unit } });
}

interface Row {
  readonly name: string;
  readonly unit: Partial<UnitSettings>;
  readonly given?: Partial<UnitGiven>;
  readonly about: string;
  readonly level: Finding['level'];
  readonly says?: string;
}

describe('judgeUnit()', () => {
  test('finds nothing in the unit that is shipped', () => {
    expect(judge({}).filter(({ level }) => level !== 'ok')).toEqual([]);
  });

  test('says only that the unit does not exist', () => {
    expect(judge({ loadState: 'not-found' })).toEqual([
      expect.objectContaining({ level: 'failure', says: 'not-found' }),
    ]);
  });

  test.for<Row>([
    { name: 'files changed', unit: { needsReload: true }, about: 'unit kuma-dp.service', level: 'warning' },
    { name: 'control-group', unit: { killMode: 'control-group' }, about: 'KillMode', level: 'failure' },
    { name: 'none', unit: { killMode: 'none' }, about: 'KillMode', level: 'failure', says: 'no process' },
    { name: 'process', unit: { killMode: 'process' }, about: 'KillMode', level: 'warning' },
    { name: 'SIGKILL', unit: { killSignal: '9' }, about: 'KillSignal', level: 'failure' },
    { name: 'SIGINT', unit: { killSignal: '2' }, about: 'KillSignal', level: 'ok' },
    { name: 'just enough', unit: { timeoutStopMs: 61_000 }, about: 'TimeoutStopSec', level: 'ok' },
    {
      name: 'just too little, and systemd hears',
      unit: { timeoutStopMs: 60_999 },
      about: 'TimeoutStopSec',
      level: 'warning',
      says: 'asks for more time',
    },
    {
      name: 'just too little, and systemd is deaf',
      unit: { timeoutStopMs: 60_999, type: 'exec', notifyAccess: 'none' },
      about: 'TimeoutStopSec',
      level: 'failure',
      says: 'SIGKILL comes first',
    },
    {
      name: 'no limit',
      unit: { timeoutStopMs: Number.POSITIVE_INFINITY },
      about: 'TimeoutStopSec',
      level: 'ok',
      says: 'infinity',
    },
    { name: 'a limit unsaid', unit: { timeoutStopMs: undefined }, about: 'TimeoutStopSec', level: 'unseen' },
    { name: 'exec', unit: { type: 'exec', notifyAccess: 'none' }, about: 'Type', level: 'ok' },
    { name: 'idle', unit: { type: 'idle', notifyAccess: 'none' }, about: 'Type', level: 'ok' },
    { name: 'forking', unit: { type: 'forking' }, about: 'Type', level: 'failure' },
    { name: 'notify, deaf', unit: { notifyAccess: 'none' }, about: 'Type', level: 'failure' },
    { name: 'notify, main only', unit: { notifyAccess: 'main' }, about: 'Type', level: 'failure' },
    { name: 'notify, main only, root', unit: { notifyAccess: 'main', user: '' }, about: 'Type', level: 'ok' },
    {
      name: 'notify, start limited as kuma-dp tries',
      unit: { timeoutStartMs: 300_000 },
      about: 'Type',
      level: 'warning',
      says: 'restarts the unit in a loop',
    },
    { name: 'notify, start limited above', unit: { timeoutStartMs: 300_001 }, about: 'Type', level: 'ok' },
    { name: 'Node runs it', unit: {}, given: { mainArgv: AGENT }, about: 'main process', level: 'ok' },
    {
      name: 'kuma-dp itself',
      unit: {},
      given: { mainArgv: ['/usr/bin/kuma-dp', 'run'] },
      about: 'main process',
      level: 'failure',
      says: 'pid 42 is kuma-dp, not kuma-dp-agent',
    },
    {
      name: 'sudo in between',
      unit: {},
      given: { mainArgv: ['sudo', '-u', 'kuma-dp', 'kuma-dp-agent', 'run'] },
      about: 'main process',
      level: 'failure',
      says: 'stands between',
    },
    { name: 'not running', unit: { mainPid: undefined }, about: 'main process', level: 'unseen' },
    { name: 'hidden', unit: {}, given: { mainArgv: undefined }, about: 'main process', level: 'unseen' },
    {
      name: 'no order at all',
      unit: { after: new Set() },
      about: 'order',
      level: 'warning',
      says: 'network',
    },
    {
      name: 'no order with names',
      unit: { after: new Set(['network.target']) },
      about: 'order',
      level: 'warning',
      says: 'not after nss-lookup.target:',
    },
    {
      name: 'no order with names, but none is needed',
      unit: { after: new Set(['network.target']) },
      given: { needsNames: false },
      about: 'order',
      level: 'ok',
      says: 'time-sync',
    },
  ])('$about: $name: $level', ({ unit, given, about, level, says = '' }) => {
    const finding = judge(unit, given).find((one) => one.about === about);
    expect(finding).toMatchObject({ level, says: expect.stringContaining(says) as string });
    const needsRemedy = level === 'warning' || level === 'failure';
    expect(finding?.remedy !== undefined, 'a remedy where there is something to mend').toBe(needsRemedy);
  });

  test.for([
    ['/usr/bin/python3', '/usr/bin/supervisord', '-n', '-c', '/etc/supervisor/supervisord.conf'],
    ['/usr/bin/runsvdir', '-P', '/etc/service'],
    ['s6-svscan', '/run/service'],
    ['/usr/bin/containerd-shim-runc-v2', '-namespace', 'moby'],
  ])(
    'a supervisor that starts the agent is named, and its unit not taken for the agent’s: %s %s',
    (mainArgv) => {
      const found = judge({ type: 'forking', notifyAccess: 'none', killMode: 'process' }, { mainArgv });
      expect(found.map(({ about, level }) => `${about}: ${level}`)).toEqual([
        'unit kuma-dp.service: ok',
        'supervisor: warning',
        'KillMode: warning',
      ]);
      expect(found[1]?.remedy).toContain('--supervisor-timeout');
    },
  );

  test('names the file that has the last word', () => {
    const cat = '# /etc/systemd/system/kuma-dp.service.d/b.conf\n[Service]\nKillMode=control-group\n';
    const says = judge({ killMode: 'control-group' }, { cat }).map((finding) => finding.says);
    expect(says).toContainEqual(expect.stringMatching(/^control-group \(\/etc\/.*b\.conf\): Envoy/));
    expect(says).toContainEqual(expect.stringContaining("1m15s (systemd's default)"));
  });
});
