import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { beforeEach, describe, expect, test } from 'vitest';

import { RUN_OPTIONS } from '../../agent/options.ts';
import { readUnitSettings } from '../../agent/systemd/systemd-unit.pure.ts';
import { judgeUnit } from '../../agent/doctor/unit-findings.pure.ts';
import { judgeUserSwitch } from '../../agent/doctor/unit-user-switch.pure.ts';
import { EXIT_CONFIG } from '../../agent/child/exit-status.pure.ts';
import { SERVE_OPTIONS } from '../../control-plane/options.ts';
import type { Finding } from '../../kernel/findings.ts';
import { parseDuration } from '../../kernel/duration.ts';
import { need } from '../support/need.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'systemd');

/** A unit as it is shipped. */
class Unit {
  readonly name: string;
  readonly text: string;

  constructor(name: string) {
    this.name = name;
    this.text = readFileSync(join(FOLDER, name), 'utf8');
  }

  /** All values of a setting, in order. */
  settings(key: string): readonly string[] {
    return this.text
      .split('\n')
      .flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
  }
}

const unit = new Unit('kuma-dp.service');
const template = new Unit('kuma-dp@.service');
/** Lies over both, and over a unit that was there before. */
const dropIn = new Unit('kuma-dp-agent.conf');
const deregistrar = new Unit('kuma-deregistrar.service');
/** Its settings alone, in order. */
function plain(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** The doctor's findings about a unit under which the agent runs, without those at level `ok`. */
function complaints(given: {
  readonly type: string;
  readonly timeoutStop: string;
  readonly after: string;
}): readonly Finding[] {
  const findings = judgeUnit({
    unit: readUnitSettings(
      [
        'LoadState=loaded',
        `Type=${given.type}`,
        `NotifyAccess=${dropIn.settings('NotifyAccess').join(' ')}`,
        `KillMode=${dropIn.settings('KillMode').join(' ')}`,
        `TimeoutStopUSec=${given.timeoutStop}`,
        `TimeoutStartUSec=${unit.settings('TimeoutStartSec').join(' ')}`,
        `After=${given.after}`,
        `User=${unit.settings('User').join(' ')}`,
        'MainPID=42',
      ].join('\n'),
    ),
    cat: '',
    budgetMs: RUN_OPTIONS.stopBudgetMs.fallback,
    mainArgv: unit.settings('ExecStart').join(' ').split(' '),
    needsNames: true,
  });
  return findings.filter(({ level }) => level !== 'ok');
}

const settings = (key: string): readonly string[] => [...unit.settings(key), ...dropIn.settings(key)];
const of = (key: string): string => settings(key).join(' ');

describe('systemd/kuma-dp.service with systemd/kuma-dp-agent.conf', () => {
  test('leaves more time than the stop budget', () => {
    const [limit = ''] = settings('TimeoutStopSec');
    const margin = 10_000;
    expect(parseDuration(limit)).toBeGreaterThanOrEqual(RUN_OPTIONS.stopBudgetMs.fallback + margin);
  });

  test('counts as started when the agent says so, however long that takes', () => {
    expect(settings('Type')).toEqual(['notify']);
    expect(settings('NotifyAccess'), 'systemd-notify is a child of the agent').toEqual(['all']);
    expect(settings('TimeoutStartSec')).toEqual(['infinity']);
    expect(settings('WatchdogSec')).toEqual([]);
  });

  test('passes the doctor', () => {
    expect(complaints({ type: of('Type'), timeoutStop: of('TimeoutStopSec'), after: of('After') })).toEqual(
      [],
    );
  });

  test('tells only the agent to stop', () => {
    expect(settings('KillMode')).toEqual(['mixed']);
    expect(settings('KillSignal'), 'SIGTERM, which is what begins a stop').toEqual([]);
  });

  test('does not restart an agent with wrong options for ever', () => {
    expect(settings('RestartPreventExitStatus')).toEqual([String(EXIT_CONFIG)]);
  });

  test('keeps the state folder, which is the default one, for ExecStopPost and the next start', () => {
    expect(RUN_OPTIONS.stateDir.fallback).toBe(`/run/${settings('RuntimeDirectory')[0]}`);
    expect(settings('RuntimeDirectoryPreserve')).toEqual(['yes']);
    expect(settings('ExecStopPost')[0]).toMatch(/kuma-dp-agent deregister --state %t\/kuma-dp-agent$/);
  });

  test('stops before the network, name resolution and the clock do', () => {
    expect(settings('After').join(' ').split(' ')).toEqual(
      expect.arrayContaining(['network-online.target', 'nss-lookup.target', 'time-sync.target']),
    );
    expect(settings('Wants')).toEqual(['network-online.target']);
  });
});

describe('systemd/kuma-dp-agent.conf over the unit of Kuma’s documentation', () => {
  test('passes the doctor, with what systemd puts where that unit says nothing', () => {
    const documented = { type: 'simple', timeoutStop: '90s', after: 'network.target' };
    expect(
      complaints({ ...documented, after: `${documented.after} ${dropIn.settings('After').join(' ')}` }),
    ).toEqual([]);
  });

  test('adds to what such a unit says, and takes nothing away', () => {
    const resets = dropIn.text.split('\n').filter((line) => /^\w+=\s*$/.test(line));
    expect(resets).toEqual([]);
    for (const key of ['TimeoutStopSec', 'Type', 'User', 'Restart', 'ExecStart'])
      expect(dropIn.settings(key), key).toEqual([]);
  });

  test('says what the three lines are that put the agent in front', () => {
    const example = /^#   \[Service\]\n#   ExecStart=\n#   ExecStart=(.*)$/m.exec(dropIn.text)?.[1];
    expect(example).toMatch(/^\/usr\/bin\/kuma-dp-agent run -- \/usr\/bin\/kuma-dp run /);
  });
});

describe('systemd/kuma-dp@.service', () => {
  test('differs from the unit in its names alone', () => {
    const named = plain(template.text)
      .filter((line) => line !== 'EnvironmentFile=-/etc/default/kuma-dp-%i')
      .map((line) =>
        line
          .replace('dataplane %i', 'dataplane')
          .replace('%i.yaml', 'dataplane.yaml')
          .replace('%i.token', 'token'),
      );
    expect(template.text, 'it has names').toContain('%i');
    expect(named).toEqual(plain(unit.text));
  });
});

describe('systemd/application.conf', () => {
  const application = new Unit('application.conf');

  test('is stopped before the dataplane, and takes it out of rotation before that', () => {
    expect(application.settings('After')).toEqual(['kuma-dp.service']);
    expect(application.settings('ExecStop')).toEqual(['-+/usr/bin/kuma-dp-agent drain --wait']);
    expect(application.settings('ExecStartPost')).toEqual(['-+/usr/bin/kuma-dp-agent resume --timeout 10s']);
  });
});

describe('systemd/kuma-deregistrar.service', () => {
  test('has the folders of the default options', () => {
    expect(SERVE_OPTIONS.store.fallback).toBe(
      `/var/lib/${deregistrar.settings('StateDirectory')[0]}/state.db`,
    );
    expect(SERVE_OPTIONS.adminSocket.fallback).toBe(
      `/run/${deregistrar.settings('RuntimeDirectory')[0]}/admin.sock`,
    );
  });

  test('counts as started when agents can attach', () => {
    expect(deregistrar.settings('Type')).toEqual(['notify']);
    expect(deregistrar.settings('NotifyAccess')).toEqual(['all']);
    expect(deregistrar.settings('TimeoutStartSec')).toEqual(['infinity']);
  });

  test('does not restart a program with wrong options for ever', () => {
    expect(deregistrar.settings('RestartPreventExitStatus')).toEqual([String(EXIT_CONFIG)]);
  });

  test('lets a stop redirect the agents before it kills', () => {
    expect(parseDuration(deregistrar.settings('TimeoutStopSec')[0] ?? '')).toBeGreaterThanOrEqual(10_000);
  });
});

/** What Envoy, kuma-dp and Node can do without: https://www.freedesktop.org/software/systemd/man/latest/systemd-analyze.html */
const EXPOSURE_AT_MOST = 4.5;

function exposure(name: string, text: string): number {
  using dir = new TemporaryDir();
  writeFileSync(dir.join(name), text);
  const argv = ['security', '--offline=true', '--no-pager', dir.join(name)];
  const { stdout } = spawnSync('systemd-analyze', argv, { encoding: 'utf8' });
  return Number(/Overall exposure level for [^:]+: ([\d.]+)/.exec(stdout)?.[1]);
}

describe('systemd-analyze security', () => {
  beforeEach((context) => {
    need(context, 'systemd-analyze');
  });

  test.for(['kuma-dp.service', 'kuma-dp@.service', 'kuma-deregistrar.service'])('of %s is low', (file) => {
    const { text } = new Unit(file);
    const name = file.replace('@', '@web-1');
    expect(exposure(name, text)).toBeLessThanOrEqual(EXPOSURE_AT_MOST);
    const open = text.replaceAll(/^(Capability|SystemCall|Restrict|Protect|Private)\w+=.*\n/gm, '');
    expect(exposure(name, open), 'the check must be able to fail').toBeGreaterThan(EXPOSURE_AT_MOST);
  });
});

/** 0.1.0 had no bounding set: a unit with an operator's changes to it must start after an upgrade. */
test.each([unit, template])(
  '$name: a command that switches the user has the capabilities for it',
  (shipped) => {
    const command = '/usr/bin/kuma-dp-agent run -- /usr/sbin/runuser -u envoy -- kuma-dp run';
    const [capabilities = ''] = shipped.settings('CapabilityBoundingSet');
    const shown = [
      'User=',
      `CapabilityBoundingSet=${capabilities.toLowerCase()}`,
      `ExecStart={ path=/a ; argv[]=${command} ; ignore_errors=no ; }`,
    ];
    expect(judgeUserSwitch(readUnitSettings(shown.join('\n')))).toEqual([]);
    expect(
      judgeUserSwitch(readUnitSettings(shown.with(1, 'CapabilityBoundingSet=').join('\n'))),
    ).toHaveLength(1);
  },
);

describe('systemd-analyze verify', () => {
  beforeEach((context) => {
    need(context, 'systemd-analyze');
  });

  test.for([
    { name: 'kuma-dp.service', with: dropIn },
    { name: 'kuma-dp@web-1.service', with: dropIn },
    { name: 'kuma-deregistrar.service', with: undefined },
  ])('accepts $name as it is installed, and would notice a wrong word', ({ name, with: over }) => {
    using dir = new TemporaryDir();
    // The programs are not installed here; everything else is as shipped.
    const write = (path: string, text: string): void => {
      mkdirSync(dirname(dir.join(path)), { recursive: true });
      writeFileSync(
        dir.join(path),
        text.replaceAll(/\/usr\/bin\/kuma-(dp|deregistrar)(-agent)?/g, '/bin/true'),
      );
    };
    const verify = (): readonly string[] =>
      spawnSync('systemd-analyze', ['verify', '--man=no', dir.join(name)], { encoding: 'utf8' }).stderr.split(
        '\n',
      );
    const text = new Unit(name.replace('web-1', '')).text;
    const file = name.replace('web-1', '');
    write(name, text);
    if (file !== name) write(file, text);
    if (over !== undefined) write(`${file}.d/10-kuma-dp-agent.conf`, over.text);
    expect(verify().filter((line) => line.includes('kuma-d'))).toEqual([]);

    write(`${file}.d/20-wrong.conf`, '[Service]\nKilMode=mixed\n');
    expect(verify().join('\n'), 'the check must be able to fail').toContain('KilMode');
  });
});
