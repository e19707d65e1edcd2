import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { RUN_OPTIONS } from '../../agent/options.ts';
import { readUnitSettings } from '../../agent/core/systemd-unit.ts';
import { judgeUnit } from '../../agent/core/unit-findings.ts';
import { EXIT_CONFIG } from '../../agent/core/exit-status.ts';
import { SERVE_OPTIONS } from '../../control-plane/options.ts';
import { parseDuration } from '../../kernel/duration.ts';
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

const dataplane = new Unit('kuma-dp.service');
const deregistrar = new Unit('kuma-deregistrar.service');
const settings = (key: string): readonly string[] => dataplane.settings(key);
const of = (key: string): string => settings(key).join(' ');

describe('systemd/kuma-dp.service', () => {
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
    const findings = judgeUnit({
      unit: readUnitSettings(
        [
          'LoadState=loaded',
          `Type=${of('Type')}`,
          `NotifyAccess=${of('NotifyAccess')}`,
          `KillMode=${of('KillMode')}`,
          `TimeoutStopUSec=${of('TimeoutStopSec')}`,
          `TimeoutStartUSec=${of('TimeoutStartSec')}`,
          `After=${of('After')}`,
          `User=${of('User')}`,
          'MainPID=42',
        ].join('\n'),
      ),
      cat: '',
      budgetMs: RUN_OPTIONS.stopBudgetMs.fallback,
      mainArgv: of('ExecStart').split(' '),
      needsNames: true,
    });
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
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

  test('lets a stop send the agents elsewhere before it kills', () => {
    expect(parseDuration(deregistrar.settings('TimeoutStopSec')[0] ?? '')).toBeGreaterThanOrEqual(10_000);
  });
});

const systemd = spawnSync('systemd-analyze', ['--version']);
describe.skipIf(systemd.error !== undefined)('systemd-analyze verify', () => {
  test.for([dataplane, deregistrar])('accepts $name, and would notice a wrong word', ({ name, text }) => {
    using dir = new TemporaryDir();
    const copy = dir.join(name);
    // The programs are not installed here; everything else is as shipped.
    writeFileSync(copy, text.replaceAll(/\/usr\/bin\/kuma-(dp|deregistrar)(-agent)?/g, '/bin/true'));
    const verify = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
    expect(verify.stderr.split('\n').filter((line) => line.includes(name))).toEqual([]);

    writeFileSync(copy, text.replace('KillMode=mixed', 'KilMode=mixed'));
    const broken = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
    expect(broken.stderr, 'the check must be able to fail').toContain('KilMode');
  });
});
