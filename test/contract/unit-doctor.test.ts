import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { RUN_OPTIONS } from '../../agent/options.ts';
import { readUnitSettings } from '../../agent/systemd/systemd-unit.pure.ts';
import { judgeCare } from '../../agent/doctor/unit-care.pure.ts';
import type { Finding } from '../../kernel/findings.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'systemd');

/** The settings that we ship for a dataplane, the drop-in last, as `systemctl show` names them. */
const SHIPPED = ['kuma-dp.service', 'kuma-dp-agent.conf']
  .map((name) => join(FOLDER, name))
  .filter((path) => existsSync(path))
  .map((path) => readFileSync(path, 'utf8'))
  .join('\n');

function shipped(key: string): string {
  const values = SHIPPED.split('\n').flatMap((line) =>
    line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : [],
  );
  return values.join(' ').replace(/^-/, '').replace('%t', '/run');
}

function complaints(settings: Readonly<Record<string, string>>): readonly Finding[] {
  const text = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  return judgeCare({
    unit: readUnitSettings(text.join('\n')),
    cat: '',
    stateDir: RUN_OPTIONS.stateDir.fallback,
    companion: false,
    orderedAfter: [],
    missing: new Set(),
  }).filter(({ level }) => level !== 'ok');
}

/** systemd's defaults for settings that the unit leaves out, as version 252 shows them. */
const DEFAULTS = {
  LoadState: 'loaded',
  DefaultDependencies: 'yes',
  SendSIGKILL: 'yes',
  FinalKillSignal: '9',
  Conflicts: 'shutdown.target',
  Before: 'multi-user.target shutdown.target',
};

const DROP_IN = {
  ExecStopPost: `{ path=… ; argv[]=${shipped('ExecStopPost')} ; ignore_errors=yes ; }`,
  RuntimeDirectory: shipped('RuntimeDirectory'),
  RuntimeDirectoryPreserve: shipped('RuntimeDirectoryPreserve'),
};

describe('the doctor has nothing against', () => {
  test('the unit that is shipped', () => {
    expect(
      complaints({
        ...DEFAULTS,
        ...DROP_IN,
        Type: shipped('Type'),
        Restart: shipped('Restart'),
        LimitNOFILE: shipped('LimitNOFILE'),
      }),
    ).toEqual([]);
  });

  test('the unit of Kuma’s documentation with what is shipped over it', () => {
    const documented = { Type: 'simple', Restart: 'always', LimitNOFILE: '1048576' };
    expect(complaints({ ...DEFAULTS, ...DROP_IN, ...documented })).toEqual([]);
  });

  test('systemd’s own limit of descriptors', () => {
    const { RuntimeDirectory, ...rest } = DROP_IN;
    expect(complaints({ ...DEFAULTS, ...rest, Restart: 'on-failure', LimitNOFILE: '524288' })).toEqual([]);
    expect(RuntimeDirectory).toBe('kuma-dp-agent');
  });
});
