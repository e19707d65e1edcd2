import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';
import { TLS_FIXTURES } from '../support/kuma/control-plane.ts';
import { InstallablePackages } from '../support/packages/installable-packages.ts';
import type { BootedSystemd } from '../support/systemd/booted-systemd.ts';
import { MeshHost } from '../support/systemd/mesh-host.ts';
import { stateOf, STOPPED_CLEANLY } from '../support/systemd/unit-properties.ts';
import { freePort } from '../support/world/free-port.ts';
import { waitUntil } from '../support/world/wait-until.ts';

let packages: InstallablePackages;

beforeAll(() => {
  packages = new InstallablePackages();
});

afterAll(() => {
  packages[Symbol.dispose]();
});

const VENDOR = '/usr/lib/systemd/system';
const DROP_IN = `${VENDOR}/kuma-dp.service.d/10-kuma-dp-agent.conf`;

/** Those of the files and folders that exist. */
async function existing(systemd: BootedSystemd, paths: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await systemd.run([
    'sh',
    '-c',
    'for path; do [ -e "$path" ] && echo "$path"; done',
    'look',
    ...paths,
  ]);
  return stdout.split('\n').filter((line) => line !== '');
}

async function installed(systemd: BootedSystemd, name: string): Promise<string> {
  return (await systemd.run(['dpkg-query', '--show', '--showformat', '${Version} ${db:Status-Status}', name]))
    .stdout;
}

/** A booted host with the agent's package and one dataplane that serves. */
async function servingHost(): Promise<{ host: MeshHost; web: Awaited<ReturnType<MeshHost['serve']>> }> {
  const host = await MeshHost.boot({ layer: packages.layer });
  await packages.install(host.systemd, 'kuma-dp-agent', 1);
  return { host, web: await host.serve('web-1', { unit: 'kuma-dp' }) };
}

/** Stops it with a request under way, and looks that everything comes in its order. */
async function expectOrderlyStop({ host, web }: Awaited<ReturnType<typeof servingHost>>): Promise<void> {
  const held = await host.hold(web);
  const stopping = host.systemd.systemctl('stop', web.unit);
  await host.untilListed([]);
  await waitUntil(
    async () =>
      (await host.systemd.journal(web.unit)).some(({ message }) => /stopping instance/.test(message)),
    { what: 'kuma-dp to be told' },
  );
  host.application('web-1').release();
  await stopping;
  expect(await held.status).toBe(200);
  expect(host.deletedOverRest).toEqual(['/meshes/default/dataplanes/web-1']);
}

describe('kuma-dp-agent as a package', () => {
  test('is installed: it brings the unit, the user and the folders, and starts nothing', async () => {
    await using host = await MeshHost.boot({ layer: packages.layer });
    const { systemd } = host;
    await packages.install(systemd, 'kuma-dp-agent', 1);

    expect(await installed(systemd, 'kuma-dp-agent')).toBe(`${VERSION}-1 installed`);
    expect(await systemd.property('kuma-dp.service', 'FragmentPath')).toMatch(
      /\/lib\/systemd\/system\/kuma-dp\.service$/,
    );
    expect(await systemd.property('kuma-dp.service', 'UnitFileState')).toBe('disabled');
    expect(await stateOf(systemd, 'kuma-dp.service')).toBe(STOPPED_CLEANLY);
    expect(await systemd.must(['stat', '--format', '%n %U:%G %a', '/var/lib/kuma-dp', '/etc/kuma-dp'])).toBe(
      '/var/lib/kuma-dp kuma-dp:kuma-dp 750\n/etc/kuma-dp root:kuma-dp 750\n',
    );
    expect((await systemd.must(['kuma-dp-agent', 'version'])).trim()).toBe(`kuma-dp-agent ${VERSION}`);

    const web = await host.serve('web-1', { unit: 'kuma-dp' });
    const pid = await systemd.property(web.unit, 'MainPID');
    expect((await systemd.must(['readlink', `/proc/${pid}/exe`])).trim()).toBe('/usr/lib/kuma-dp-agent/node');
    const doctor = await systemd.run(['kuma-dp-agent', 'doctor', '--unit', 'kuma-dp']);
    expect(doctor.stdout).toMatch(/^ok {3}main process: pid \d+ is the agent$/m);
    expect(doctor.stdout).not.toContain('FAIL');
  });

  test('is upgraded under a running dataplane: the dataplane notices nothing, and stops as before', async () => {
    const serving = await servingHost();
    await using host = serving.host;
    const { systemd } = host;
    const { unit } = serving.web;
    const before = await systemd.systemctl(
      'show',
      '--property',
      'MainPID,ActiveEnterTimestampMonotonic,NRestarts',
      unit,
    );
    const inode = ['stat', '--format', '%i', '/usr/lib/kuma-dp-agent/node', '/usr/lib/kuma-dp-agent/main.js'];
    const files = await systemd.must(inode);

    await packages.install(systemd, 'kuma-dp-agent', 2);
    expect(await installed(systemd, 'kuma-dp-agent')).toBe(`${VERSION}-2 installed`);
    expect(await systemd.must(inode), 'the files are others').not.toBe(files);
    expect(
      await systemd.systemctl('show', '--property', 'MainPID,ActiveEnterTimestampMonotonic,NRestarts', unit),
    ).toBe(before);
    expect(host.deletedOverRest).toEqual([]);

    await expectOrderlyStop(serving);
    expect(await stateOf(systemd, unit)).toBe(STOPPED_CLEANLY);
  });

  test('keeps an operator’s changes of its environment file, over upgrades and a removal', async () => {
    await using host = await MeshHost.boot({ layer: packages.layer });
    const { systemd } = host;
    await packages.install(systemd, 'kuma-dp-agent', 1);
    await systemd.write('/etc/default/kuma-dp-agent', 'KUMA_DP_AGENT_STOP_BUDGET=42s\n');
    await packages.install(systemd, 'kuma-dp-agent', 2);
    expect(await systemd.must(['cat', '/etc/default/kuma-dp-agent'])).toBe('KUMA_DP_AGENT_STOP_BUDGET=42s\n');
    // Back to the version before.
    await packages.install(systemd, 'kuma-dp-agent', 1);
    await systemd.must(['dpkg', '--no-triggers', '--remove', 'kuma-dp-agent']);
    expect(await systemd.must(['cat', '/etc/default/kuma-dp-agent'])).toBe('KUMA_DP_AGENT_STOP_BUDGET=42s\n');
  });

  test('is removed under a running dataplane: the dataplane continues, and its stop still drains', async () => {
    const serving = await servingHost();
    await using host = serving.host;
    const { systemd } = host;
    const { unit } = serving.web;
    const pid = await systemd.property(unit, 'MainPID');
    await systemd.must(['dpkg', '--no-triggers', '--remove', 'kuma-dp-agent']);
    expect(await existing(systemd, ['/usr/bin/kuma-dp-agent', '/usr/lib/kuma-dp-agent', DROP_IN])).toEqual(
      [],
    );
    // As the next installation of anything does.
    await systemd.systemctl('daemon-reload');

    expect(await systemd.property(unit, 'MainPID')).toBe(pid);
    expect(await systemd.property(unit, 'KillMode')).toBe('mixed');
    expect(await systemd.property(unit, 'TimeoutStopUSec')).toBe('1min 15s');
    await expectOrderlyStop(serving);
    expect(await systemd.property(unit, 'Result')).toBe('success');

    await packages.install(systemd, 'kuma-dp-agent', 2);
    expect(await existing(systemd, ['/run/systemd/system/kuma-dp.service'])).toEqual([]);
    expect(await systemd.property(unit, 'FragmentPath')).toMatch(/\/lib\/systemd\/system\/kuma-dp\.service$/);
  });

  test('is purged: its own files are gone, an operator’s are there', async () => {
    await using host = await MeshHost.boot({ layer: packages.layer });
    const { systemd } = host;
    await packages.install(systemd, 'kuma-dp-agent', 1);
    await systemd.systemctl('enable', 'kuma-dp.service', 'kuma-dp@web.service');
    const links = ['kuma-dp.service', 'kuma-dp@web.service'].map(
      (name) => `/etc/systemd/system/multi-user.target.wants/${name}`,
    );
    expect(await systemd.must(['ls', ...links])).toBe(`${links.join('\n')}\n`);
    await systemd.write('/etc/kuma-dp/dataplane.yaml', 'type: Dataplane\n');
    await systemd.write('/etc/default/kuma-dp', 'KUMA_DNS_ENABLED=false\n');
    await systemd.write('/etc/systemd/system/kuma-dp.service.d/override.conf', '[Service]\nNice=1\n');

    await systemd.must(['dpkg', '--no-triggers', '--remove', 'kuma-dp-agent']);
    expect(
      await existing(systemd, ['/etc/default/kuma-dp-agent', '/run/systemd/system/kuma-dp.service']),
    ).toEqual(['/etc/default/kuma-dp-agent']);
    await systemd.must(['dpkg', '--no-triggers', '--purge', 'kuma-dp-agent']);
    expect(await installed(systemd, 'kuma-dp-agent')).toBe('');
    const left = await systemd.run(['find', '/etc', '/run', '/usr', '/var/lib', '-name', '*kuma-dp*']);
    expect(left.stdout.trim().split('\n').toSorted()).toEqual([
      '/etc/default/kuma-dp',
      '/etc/kuma-dp',
      '/etc/systemd/system/kuma-dp.service.d',
      // Of the host itself.
      '/usr/bin/kuma-dp',
    ]);
    expect(await systemd.must(['cat', '/etc/kuma-dp/dataplane.yaml'])).toBe('type: Dataplane\n');
    for (const link of links) expect((await systemd.run(['test', '-L', link])).code, link).toBe(1);
  });

  test('leaves an existing unit in force, and lays its drop-in over it', async () => {
    await using host = await MeshHost.boot({ layer: packages.layer });
    const { systemd } = host;
    const own = '/etc/systemd/system/kuma-dp.service';
    await systemd.write(own, '[Service]\nExecStart=/usr/bin/sleep infinity\n');
    await systemd.systemctl('daemon-reload');
    await systemd.systemctl('start', 'kuma-dp.service');
    const pid = await systemd.property('kuma-dp.service', 'MainPID');
    await packages.install(systemd, 'kuma-dp-agent', 1);

    const shown = async (name: string): Promise<string> => systemd.property('kuma-dp.service', name);
    expect([
      await shown('FragmentPath'),
      await shown('DropInPaths'),
      await shown('MainPID'),
      await shown('KillMode'),
    ]).toEqual([own, DROP_IN, pid, 'mixed']);
    expect(await shown('ExecStart')).toContain('/usr/bin/sleep infinity');

    await systemd.must(['dpkg', '--no-triggers', '--purge', 'kuma-dp-agent']);
    expect([await shown('FragmentPath'), await shown('MainPID')]).toEqual([own, pid]);
    expect(await systemd.must(['cat', own])).toBe('[Service]\nExecStart=/usr/bin/sleep infinity\n');
    await systemd.systemctl('restart', 'kuma-dp.service');
    expect(await shown('ActiveState'), 'without the agent, as before').toBe('active');
  });
});

/** A booted host on which it is installed and would serve on ports of its own. */
async function companionHost(): Promise<MeshHost> {
  await using opening = new AsyncDisposableStack();
  const host = opening.use(await MeshHost.boot({ layer: packages.layer }));
  await packages.install(host.systemd, 'kuma-deregistrar', 1);
  const settings = {
    KUMA_API: host.controlPlane.httpUrl,
    LISTEN: `127.0.0.1:${await freePort()}`,
    HTTP: `127.0.0.1:${await freePort()}`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `KUMA_DEREGISTRAR_${name}=${value}\n`);
  // Beside its control plane, whose certificate it shows to agents.
  for (const kind of ['crt', 'key'])
    await host.systemd.write(
      `/var/lib/kuma-test/cp/kuma-cp.${kind}`,
      readFileSync(join(TLS_FIXTURES, `server.${kind}`), 'utf8'),
    );
  await host.systemd.write('/etc/default/kuma-deregistrar', lines.join(''), '640');
  opening.move();
  return host;
}

describe('kuma-deregistrar as a package', () => {
  const UNIT = 'kuma-deregistrar.service';

  test('is installed and started, runs as the new version after an upgrade, and removes its state when purged', async () => {
    await using host = await companionHost();
    const { systemd } = host;
    expect(await systemd.property(UNIT, 'UnitFileState')).toBe('disabled');
    expect(await systemd.property(UNIT, 'ActiveState')).toBe('inactive');
    await systemd.systemctl('start', UNIT);
    const status = async (): Promise<string> => systemd.must(['kuma-deregistrar', 'status']);
    expect(await status()).toMatch(/^dataplanes: 0 attached, 0 leaving or lost$/m);
    const first = await systemd.property(UNIT, 'MainPID');
    expect((await systemd.must(['readlink', `/proc/${first}/exe`])).trim()).toBe(
      '/usr/lib/kuma-deregistrar/node',
    );

    await packages.install(systemd, 'kuma-deregistrar', 2);
    expect(await systemd.property(UNIT, 'ActiveState')).toBe('active');
    expect(await systemd.property(UNIT, 'MainPID')).not.toBe(first);
    expect(await status()).toMatch(/^dataplanes: 0 attached, 0 leaving or lost$/m);
    expect(await systemd.property(UNIT, 'NRestarts'), 'asked, not crashed').toBe('0');

    await systemd.must(['dpkg', '--no-triggers', '--remove', 'kuma-deregistrar']);
    expect(await systemd.property(UNIT, 'ActiveState')).toBe('inactive');
    expect(
      await existing(systemd, ['/var/lib/kuma-deregistrar/state.db', '/etc/default/kuma-deregistrar']),
    ).toHaveLength(2);
    await systemd.must(['dpkg', '--no-triggers', '--purge', 'kuma-deregistrar']);
    expect(await existing(systemd, ['/var/lib/kuma-deregistrar', '/etc/default/kuma-deregistrar'])).toEqual(
      [],
    );
  });

  test('is upgraded while its control plane is away: the upgrade does not wait, and it serves when it is back', async () => {
    await using host = await companionHost();
    const { systemd, controlPlane } = host;
    await systemd.systemctl('start', UNIT);
    await controlPlane.stop();

    const said = await packages.install(systemd, 'kuma-deregistrar', 2);
    expect(said).toContain('not ready again yet');
    expect(await installed(systemd, 'kuma-deregistrar')).toBe(`${VERSION}-2 installed`);
    expect(await systemd.property(UNIT, 'ActiveState')).toBe('activating');
    await controlPlane.start();
    await waitUntil(async () => (await systemd.property(UNIT, 'ActiveState')) === 'active', {
      what: 'it to serve again',
      budgetMs: 60_000,
    });
  });

  test('is upgraded without being started where it does not run', async () => {
    await using host = await companionHost();
    const said = await packages.install(host.systemd, 'kuma-deregistrar', 2);
    expect(await installed(host.systemd, 'kuma-deregistrar')).toBe(`${VERSION}-2 installed`);
    expect(await host.systemd.property(UNIT, 'ActiveState')).toBe('inactive');
    expect(said).not.toContain('not ready');
  });
});
