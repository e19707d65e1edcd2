import { describe, expect, test } from 'vitest';

import { readUnitSettings, type UnitSettings } from '../../../../agent/systemd/systemd-unit.pure.ts';
import { judgeCare, type CareGiven } from '../../../../agent/doctor/unit-care.pure.ts';
import type { Finding } from '../../../../kernel/findings.ts';

const FINISHES = '/usr/bin/kuma-dp-agent deregister --state /run/kuma-dp-agent';
const UNIT: UnitSettings = {
  ...readUnitSettings(''),
  id: 'kuma-dp.service',
  loadState: 'loaded',
  type: 'notify',
  restart: 'always',
  finalKillSignal: '9',
  execStopPost: [FINISHES],
  runtimeDirectories: ['kuma-dp-agent'],
  runtimeDirectoryPreserve: 'yes',
  limitNofile: 1_048_576,
};

function judge(unit: Partial<UnitSettings>, given: Partial<CareGiven> = {}): readonly Finding[] {
  return judgeCare({
    cat: '',
    stateDir: '/run/kuma-dp-agent',
    companion: false,
    orderedAfter: [],
    missing: new Set(),
    ...given,
    unit: { ...UNIT, ...unit },
  });
}

interface Row {
  readonly name: string;
  readonly unit?: Partial<UnitSettings>;
  readonly given?: Partial<CareGiven>;
  readonly expected: readonly Pick<Finding, 'level' | 'about'>[];
  readonly says?: string;
}

const warning = (about: string) => [{ level: 'warning', about }] as const;

describe('judgeCare()', () => {
  test('has two good findings for a sound unit', () => {
    expect(judge({})).toEqual([
      { level: 'ok', about: 'after a killed agent', says: 'ExecStopPost finishes its stop' },
      { level: 'ok', about: 'Restart', says: 'always' },
    ]);
  });

  test('says nothing of a unit that is not there', () => {
    expect(judge({ loadState: 'not-found' })).toEqual([]);
  });

  test.for<Row>([
    {
      name: 'a unit whose environment file is missing',
      unit: { activeState: 'failed', result: 'resources' },
      expected: warning('now'),
      says: 'failed, resources: systemd could not start it, most often because a file',
    },
    {
      name: 'a unit whose environment file is missing, and that is tried again and again',
      unit: { activeState: 'activating', result: 'resources' },
      expected: warning('now'),
      says: 'activating, resources: systemd could not start it, most often because a file',
    },
    {
      name: 'a unit that runs again after its environment file was missing',
      unit: { activeState: 'active', result: 'resources' },
      expected: [],
    },
    {
      name: 'a unit that has failed',
      unit: { activeState: 'failed', result: 'exit-code' },
      expected: warning('now'),
      says: 'failed, exit-code',
    },
    { name: 'no ExecStopPost', unit: { execStopPost: [] }, expected: warning('after a killed agent') },
    {
      name: 'another ExecStopPost',
      unit: { execStopPost: ['/usr/bin/logger stopped'] },
      expected: warning('after a killed agent'),
    },
    {
      name: 'no ExecStopPost, but a companion',
      unit: { execStopPost: [] },
      given: { companion: true },
      expected: [],
    },
    {
      name: 'ExecStopPost that looks elsewhere',
      given: { stateDir: '/var/lib/kuma-dp-agent' },
      expected: warning('after a killed agent'),
      says: 'looks in /run/kuma-dp-agent, but the agent leaves its state in /var/lib/kuma-dp-agent',
    },
    {
      name: 'ExecStopPost for one file of the folder',
      unit: { execStopPost: [`${FINISHES}/dataplane~default~web-1.json`] },
      expected: [],
    },
    {
      name: 'ExecStopPost after another one, for all there is',
      unit: {
        execStopPost: ['/usr/bin/true', '/opt/bin/kuma-dp-agent deregister --mesh default --name web-1'],
      },
      expected: [],
    },
    ...[
      '/bin/kill -9 $MAINPID',
      '/bin/kill -s KILL $MAINPID',
      '/usr/bin/pkill -KILL -f kuma-dp',
      '/usr/bin/killall envoy',
      '/bin/sh -c "pkill kuma-dp"',
    ].map((command) => ({
      name: `ExecStop=${command}`,
      unit: { execStop: [command] },
      expected: [{ level: 'failure', about: 'ExecStop' }] as const,
      says: 'before the agent hears',
    })),
    ...['/bin/kill -TERM $MAINPID', '/usr/bin/kuma-dp-agent drain --wait', '/usr/bin/logger stops'].map(
      (command) => ({ name: `ExecStop=${command}`, unit: { execStop: [command] }, expected: [] }),
    ),
    { name: 'Restart=no', unit: { restart: 'no' }, expected: warning('Restart') },
    { name: 'Restart=on-success', unit: { restart: 'on-success' }, expected: warning('Restart') },
    { name: 'Restart=on-failure', unit: { restart: 'on-failure' }, expected: [] },
    {
      name: 'a state folder that goes with each stop',
      unit: { runtimeDirectoryPreserve: 'no' },
      expected: warning('RuntimeDirectory'),
    },
    {
      name: 'a state folder below one that goes with each stop',
      unit: { runtimeDirectoryPreserve: 'no', runtimeDirectories: ['kuma'] },
      given: { stateDir: '/run/kuma/agent' },
      expected: [...warning('after a killed agent'), ...warning('RuntimeDirectory')],
    },
    {
      name: 'another folder that goes with each stop',
      unit: { runtimeDirectoryPreserve: 'no', runtimeDirectories: ['other'] },
      expected: [],
    },
    {
      name: 'SendSIGKILL=no',
      unit: { sendSigkill: false },
      expected: warning('end of a stop that hangs'),
      says: 'SendSIGKILL=no',
    },
    {
      name: 'a soft last signal',
      unit: { finalKillSignal: '15' },
      expected: warning('end of a stop that hangs'),
      says: 'FinalKillSignal=15',
    },
    {
      name: 'no default dependencies',
      unit: { defaultDependencies: false },
      expected: warning('reboot and power-off'),
    },
    {
      name: 'no default dependencies, but its own',
      unit: { defaultDependencies: false, conflicts: new Set(['shutdown.target']) },
      expected: [],
    },
    { name: 'few descriptors', unit: { limitNofile: 1_024 }, expected: warning('LimitNOFILE') },
    { name: 'just enough descriptors', unit: { limitNofile: 4_096 }, expected: [] },
    { name: 'no shell', given: { missing: new Set(['sh']) }, expected: warning('sh') },
    {
      name: 'no systemd-notify',
      given: { missing: new Set(['systemd-notify']) },
      expected: [{ level: 'failure', about: 'systemd-notify' }],
    },
    {
      name: 'no systemd-notify, and no need',
      unit: { type: 'simple' },
      given: { missing: new Set(['systemd-notify']) },
      expected: [],
    },
    {
      name: 'an application that drains first',
      given: { orderedAfter: [{ id: 'shop.service', drains: true }] },
      expected: [],
    },
    {
      name: 'applications that do not',
      given: {
        orderedAfter: [
          { id: 'shop.service', drains: true },
          ...['a', 'b', 'c', 'd'].map((name) => ({ id: `${name}.service`, drains: false })),
        ],
      },
      expected: warning('applications'),
      says: 'a.service, b.service, c.service and 1 more: ordered after kuma-dp.service',
    },
  ])('$name', ({ unit = {}, given, expected, says = '' }) => {
    const wrong = judge(unit, given).filter(({ level }) => level !== 'ok');
    expect(wrong.map(({ level, about }) => ({ level, about }))).toEqual(expected);
    expect(wrong.map((finding) => finding.says).join()).toContain(says);
    expect(
      wrong.filter(({ remedy }) => remedy === undefined),
      'each has a remedy',
    ).toEqual([]);
  });

  test('names the file that has the last word', () => {
    const cat = '# /etc/systemd/system/kuma-dp.service.d/b.conf\n[Service]\nRestart=no\n';
    expect(judge({ restart: 'no' }, { cat })[1]?.says).toMatch(/^no \(\/etc\/.*b\.conf\): after a crash/);
  });
});
