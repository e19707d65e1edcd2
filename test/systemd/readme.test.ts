import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';

import { DOCUMENTED_UNIT } from '../support/systemd/documented-unit.ts';
import type { BootedSystemd } from '../support/systemd/booted-systemd.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf } from '../support/systemd/unit-properties.ts';
import { waitUntil } from '../support/world/wait-until.ts';

const README = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
const SETTINGS = '/etc/default/kuma-dp-agent';
const OVERRIDE = '/etc/systemd/system/kuma-dp.service.d/override.conf';

interface Step {
  readonly language: string;
  readonly text: string;
}

/** The blocks of the numbered list below "Use it", in order. */
function steps(): readonly Step[] {
  const section = README.split(/^## /m).find((part) => part.startsWith('Use it')) ?? '';
  return [...section.matchAll(/^ {3}```(\w+)\n([\s\S]*?)^ {3}```$/gm)].map(
    ([, language = '', text = '']) => ({
      language,
      text: text.replaceAll(/^ {3}/gm, ''),
    }),
  );
}

/** The tags of every line of the unit's processes. */
async function tags(systemd: BootedSystemd): Promise<ReadonlySet<unknown>> {
  const lines = await systemd.must([
    'journalctl',
    '--no-pager',
    '--output=json',
    '_SYSTEMD_UNIT=kuma-dp.service',
  ]);
  return new Set(
    lines
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { readonly SYSLOG_IDENTIFIER?: string }).SYSLOG_IDENTIFIER),
  );
}

describe('README, "Use it", on a host that has the unit of Kuma’s documentation', () => {
  test('after four steps the doctor is green and a stop goes unnoticed', async () => {
    const [install, dropIn, restart, doctor, ...more] = steps();
    expect([install, dropIn, restart, doctor].map((step) => step?.language)).toEqual([
      'sh',
      'ini',
      'sh',
      'sh',
    ]);
    expect(more).toEqual([]);
    expect(dropIn?.text.trim().split('\n'), 'a drop-in of three lines').toHaveLength(3);

    // Kuma's default ports: no setting names them here.
    const ports = { http: 5_681, https: 5_682, dataplane: 5_678 };
    await using host = await MeshHost.boot({
      layer: inject('bareLayer'),
      controlPlane: { ports, deregistrationDelayMs: 500 },
    });
    const { systemd } = host;
    await systemd.must(['useradd', '--system', '--create-home', '--home-dir', '/var/lib/kuma-dp', 'kuma-dp']);
    await systemd.write('/etc/systemd/system/kuma-dp.service', DOCUMENTED_UNIT);
    const web = await host.serve('web-1', { unit: 'kuma-dp', drainTime: '1s' });

    const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
    const [build, apt = ''] = install?.text.trim().split('\n') ?? [];
    expect(build).toBe('npm run package -- --only deb');
    await systemd.must([
      'sh',
      '-c',
      `cd ${inject('packages')} && ${apt.replace('install', 'install --yes').replace('./dist/packages', '.').replace('amd64', architecture)}`,
    ]);
    await systemd.write(SETTINGS, 'KUMA_DP_AGENT_STOP_BUDGET=41s\n');
    await systemd.write(OVERRIDE, String(dropIn?.text).replace('cp.example', 'localhost'));
    // systemctl edit does this by itself.
    await systemd.systemctl('daemon-reload');
    await systemd.must(['sh', '-c', String(restart?.text)]);
    const findings = await waitUntil(
      async () => {
        const { code, stdout } = await systemd.run(['sh', '-c', String(doctor?.text)]);
        return code === 0 ? stdout : undefined;
      },
      { what: 'the doctor to be green', budgetMs: 60_000, pollMs: 500 },
    );
    expect(
      findings
        .trim()
        .split('\n')
        .filter((line) => !line.startsWith('ok ')),
    ).toEqual([]);

    expect(findings, 'the settings are heard').toContain(`KUMA_DP_AGENT_STOP_BUDGET (${SETTINGS})`);
    expect(findings).toContain('the stop budget is 41s');

    const mainPid = await systemd.property('kuma-dp.service', 'MainPID');
    expect(await systemd.must(['cat', `/proc/${mainPid}/comm`])).toBe('kuma-dp-agent\n');
    expect(await tags(systemd), 'searches for kuma-dp’s lines find them').toEqual(new Set(['kuma-dp']));

    await host.untilListed([web]);
    const held = await host.hold(web);
    const stopping = systemd.systemctl('stop', web.unit);
    await host.untilListed([]);
    host.application('web-1').release();
    await stopping;
    expect(await held.status).toBe(200);
    expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
    expect(await stateOf(systemd, web.unit)).toMatch(/^inactive dead success 0/);
  });
});
