import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';
import { ARCHITECTURE } from '../support/packages/build-packages.ts';
import { artefact, imageRoot, unpackRpm, untar } from '../support/packages/stage.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const folder = inject('packageFolder');
const foreign = inject('foreignFolder');
const RPM = process.arch === 'x64' ? 'x86_64' : 'aarch64';
const NAMES = ['kuma-dp-agent', 'kuma-deregistrar'] as const;

let dir: TemporaryDir;

beforeEach(() => {
  dir = new TemporaryDir();
});

afterEach(() => {
  dir[Symbol.dispose]();
});

function output(command: string, ...argv: readonly string[]): string {
  return execFileSync(command, argv, { encoding: 'utf8', env: { PATH: process.env['PATH'], LC_ALL: 'C' } });
}

/** Of what `dpkg-deb --contents` lists. */
function filesOf(lines: string): readonly string[] {
  return lines
    .split('\n')
    .flatMap((line) => (line.startsWith('-') ? [(line.split(/\s+/)[5] ?? '').slice(1)] : []));
}

const rpmOf = (name: string): string => artefact(folder, new RegExp(`^${name}-.*\\.rpm$`));
const tarOf = (name: string, from = folder): string => artefact(from, new RegExp(`^${name}-.*\\.tar\\.gz$`));

test('four artefacts of each program and the checksums of all', () => {
  expect(readdirSync(folder).toSorted()).toEqual(
    [
      'SHA256SUMS',
      ...NAMES.flatMap((name) => [
        `${name}_${VERSION}-1_${ARCHITECTURE}.deb`,
        `${name}-${VERSION}-1.${RPM}.rpm`,
        `${name}-${VERSION}-linux-${process.arch}.tar.gz`,
        `${name}-${VERSION}-linux-${process.arch}.oci.tar`,
      ]),
    ].toSorted(),
  );
  execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: folder });
  expect(readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trim().split('\n')).toHaveLength(8);
});

describe('a build', () => {
  test.for([
    [['--cpu', 'mips'], /^Cannot build the packages: --cpu must be one of x64, arm64, not "mips"$/],
    [['--only', 'deb,apk'], /^Cannot build the packages: --only takes deb,rpm,tar,oci, not "apk"$/],
    [[], /^Cannot build the packages: missing .*rpmbuild.*: apt-get install .*rpm.*$/],
  ] as const)('that cannot be made says why in one line: %s', ([argv, says]) => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/package.ts', ...argv], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { PATH: dir.path },
    });
    expect(stderr.trim()).toMatch(says);
    expect({ status, lines: stderr.trim().split('\n').length }).toEqual({ status: 1, lines: 1 });
  });
});

describe.each(NAMES)('the RPM of %s', (name) => {
  test('has the files of the Debian package, but for what only Debian reads', () => {
    const debian = output('dpkg-deb', '--contents', artefact(folder, new RegExp(`^${name}_.*\\.deb$`)));
    const expected = filesOf(debian)
      .filter((path) => !/^\/etc\/needrestart|\/lintian\/|changelog\.Debian/.test(path))
      .map((path) => path.replace('/etc/default/', '/etc/sysconfig/'))
      .map((path) => path.replace('/zsh/vendor-completions/', '/zsh/site-functions/'))
      .map((path) => (path.endsWith('/copyright') ? path.replace('/doc/', '/licenses/') : path));
    const listed = output('rpm', '-qp', '--queryformat', '[%{FILEMODES:perms} %{FILENAMES}\\n]', rpmOf(name));
    const own = listed.split('\n').flatMap((line) => (line.startsWith('-') ? [line.slice(11)] : []));
    expect(own.toSorted()).toEqual([...expected, `/usr/share/licenses/${name}/LICENSE`].toSorted());
  });

  test('keeps changed settings, reads them from /etc/sysconfig, and needs the C library that its binaries name', () => {
    expect(output('rpm', '-qpc', rpmOf(name)).trim()).toBe(`/etc/sysconfig/${name}`);
    expect(output('rpm', '-qp', '--requires', rpmOf(name))).toMatch(
      name === 'kuma-dp-agent'
        ? /^libc\.so\.6\(GLIBC_2\.28\)\(64bit\)$/m
        : /^libc\.so\.6\(GLIBC_2\.34\)\(64bit\)$/m,
    );
    const root = dir.join('root');
    unpackRpm(rpmOf(name), root);
    const units = join(root, 'usr/lib/systemd/system');
    const texts = readdirSync(units, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(service|conf)$/.test(file))
      .map((file) => readFileSync(join(units, file), 'utf8'));
    expect(texts.join('')).toContain(`EnvironmentFile=-/etc/sysconfig/${name}`);
    expect(texts.join('')).not.toContain('/etc/default');
    expect(output(join(root, 'usr/bin', name), 'version')).toBe(`${name} ${VERSION}\n`);
  });

  test('passes rpmlint, but for what its settings give a reason for', () => {
    const said = spawnSync('rpmlint', ['--config', join(ROOT, 'scripts/package/rpmlint.toml'), rpmOf(name)], {
      encoding: 'utf8',
    });
    expect(said.stdout.split('\n').filter((line) => / [EW]: /.test(line))).toEqual([]);
    expect(said.status, said.stderr).toBe(0);
  });

  test('has scriptlets that any shell understands', () => {
    const scripts = readdirSync(join(ROOT, 'scripts/package/rpm-scriptlets', name)).map((script) =>
      join(ROOT, 'scripts/package/rpm-scriptlets', name, script),
    );
    expect(spawnSync('shellcheck', ['--shell', 'sh', ...scripts], { encoding: 'utf8' }).stdout).toBe('');
    expect(output('rpm', '-qp', '--scripts', rpmOf(name))).toContain(
      'systemd-update-helper install-system-units',
    );
  });
});

describe('a tarball', () => {
  test.each(NAMES)(
    'of %s runs where it is unpacked, without root, with blanks in its path, and moved',
    (name) => {
      const base = untar(tarOf(name), dir, 'with blanks in it');
      const moved = dir.join(`moved ${name}`);
      chmodSync(dir.path, 0o755);
      const options = {
        encoding: 'utf8',
        ...(process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}),
      } as const;
      for (const place of [base, moved]) {
        if (place === moved) renameSync(base, moved);
        const said = execFileSync(join(place, 'bin', name), ['version'], { ...options, cwd: '/' });
        expect(said).toBe(`${name} ${VERSION}\n`);
      }
    },
  );

  test('is installed below a prefix, shares its Node with the other program, and is removed without a trace', () => {
    const prefix = dir.join('a prefix');
    for (const name of NAMES) {
      const base = untar(tarOf(name), dir, name);
      expect(output(join(base, 'install.sh'), '--prefix', prefix)).toContain(`Installed ${name} ${VERSION}`);
    }
    expect(statSync(join(prefix, 'lib/kuma-dp-agent/node')).ino).toBe(
      statSync(join(prefix, 'lib/kuma-deregistrar/node')).ino,
    );
    expect(output(join(prefix, 'bin/kuma-deregistrar'), 'version')).toContain(VERSION);
    expect(existsSync(join(prefix, 'lib/systemd')), 'units belong to the host').toBe(false);
    output(join(prefix, 'lib/kuma-dp-agent/uninstall.sh'));
    expect(output(join(prefix, 'bin/kuma-deregistrar'), 'version')).toContain(VERSION);
    output(join(prefix, 'lib/kuma-deregistrar/uninstall.sh'));
    expect(existsSync(prefix)).toBe(false);
  });

  test('replaces an earlier version: what that one had and this one has not is gone', () => {
    const base = untar(tarOf('kuma-dp-agent'), dir, 'agent');
    const prefix = dir.join('prefix');
    const stale = join(prefix, 'lib/kuma-dp-agent/stale.js');
    mkdirSync(join(prefix, 'lib/kuma-dp-agent'), { recursive: true });
    writeFileSync(stale, '');
    writeFileSync(join(prefix, 'lib/kuma-dp-agent/installed-files'), `${stale}\n`);
    output(join(base, 'install.sh'), `--prefix=${prefix}`);
    expect(existsSync(stale)).toBe(false);
    expect(output(join(prefix, 'bin/kuma-dp-agent'), 'version')).toContain(VERSION);
  });

  test('as root below /usr/local brings units that name its place, and settings that are there stay', () => {
    const base = untar(tarOf('kuma-dp-agent'), dir, 'agent');
    const root = dir.join('root');
    mkdirSync(join(root, 'etc/default'), { recursive: true });
    writeFileSync(join(root, 'etc/default/kuma-dp-agent'), 'mine\n');
    execFileSync(join(base, 'install.sh'), {
      env: { PATH: process.env['PATH'], DESTDIR: root },
      stdio: 'pipe',
    });
    const unit = readFileSync(join(root, 'usr/local/lib/systemd/system/kuma-dp.service'), 'utf8');
    expect(unit).toContain('ExecStart=/usr/local/bin/kuma-dp-agent run --');
    expect(readFileSync(join(root, 'etc/default/kuma-dp-agent'), 'utf8')).toBe('mine\n');
  });

  test('for another processor says so in one line, and installs nothing', () => {
    const base = untar(tarOf('kuma-dp-agent', foreign), dir, 'foreign');
    const prefix = dir.join('prefix');
    const { status, stderr } = spawnSync(join(base, 'install.sh'), ['--prefix', prefix], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('does not run on this host: nothing was installed');
    expect(existsSync(prefix)).toBe(false);
  });

  test('has scripts that any shell understands', () => {
    const base = untar(tarOf('kuma-dp-agent'), dir, 'agent');
    const scripts = ['install.sh', 'uninstall.sh'].map((script) => join(base, script));
    expect(spawnSync('shellcheck', ['--shell', 'sh', ...scripts], { encoding: 'utf8' }).stdout).toBe('');
  });
});

describe('an image', () => {
  test('starts the agent behind an init, as a user that may write its state', () => {
    const file = artefact(folder, /^kuma-dp-agent-.*\.oci\.tar$/);
    const root = imageRoot(file, dir);
    const { config, architecture } = configOf(dir.join('layout'));
    expect(config).toMatchObject({
      Entrypoint: ['/usr/bin/tini', '--', '/usr/bin/kuma-dp-agent'],
      User: '65532:65532',
    });
    expect(architecture).toBe(ARCHITECTURE);
    expect(statSync(join(root, 'run/kuma-dp-agent')).uid).toBe(65_532);
    expect(statSync(join(root, 'usr/bin/kuma-dp-agent')).uid).toBe(0);
  });

  // It becomes another root, which takes root.
  test.skipIf(process.getuid?.() !== 0)(
    'runs in front of a kuma-dp with nothing but what it brings, /proc or not',
    () => {
      const root = imageRoot(artefact(folder, /^kuma-dp-agent-.*\.oci\.tar$/), dir);
      writeFileSync(join(root, 'usr/bin/kuma-dp'), '#!/bin/sh\necho "kuma-dp $*"\nexit 7\n', { mode: 0o755 });
      const { status, stdout, stderr } = spawnSync(
        'chroot',
        [
          '--userspec=65532:65532',
          root,
          '/usr/bin/kuma-dp-agent',
          'run',
          '--',
          '/usr/bin/kuma-dp',
          'run',
          '--x',
        ],
        { encoding: 'utf8', env: { PATH: process.env['PATH'] } },
      );
      expect({ status, stdout }, stderr).toEqual({ status: 7, stdout: 'kuma-dp run --x\n' });
    },
  );

  test('has libraries for an image that lacks them where they do not hide an image’s own', () => {
    const root = imageRoot(artefact(folder, /^kuma-dp-agent-.*\.oci\.tar$/), dir);
    expect(readdirSync(join(root, 'usr/lib')).filter((file) => file.includes('.so'))).toEqual([
      'libgcc_s.so.1',
      'libstdc++.so.6',
    ]);
    const dockerfile = readFileSync(join(ROOT, 'docker/Dockerfile'), 'utf8');
    const copied = [...dockerfile.matchAll(/^COPY --from=agent (?:--\S+ )?(.*) \S+$/gm)].flatMap(
      ([, paths = '']) => paths.split(' '),
    );
    expect(copied.length).toBeGreaterThan(5);
    expect(copied.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

function configOf(layout: string): { readonly config: object; readonly architecture: string } {
  const blob = (digest: string): unknown =>
    JSON.parse(readFileSync(join(layout, 'blobs/sha256', digest.replace('sha256:', '')), 'utf8'));
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    readonly manifests: readonly { readonly digest: string }[];
  };
  const manifest = blob(manifests[0]?.digest ?? '') as { readonly config: { readonly digest: string } };
  return blob(manifest.config.digest) as ReturnType<typeof configOf>;
}

const EMULATOR = process.arch === 'x64' ? 'qemu-aarch64' : 'qemu-x86_64';
const emulates = spawnSync(EMULATOR, ['--version']).status === 0 || process.env['CI'] === 'true';

describe.skipIf(!emulates)('on the other processor', () => {
  test.each(NAMES)('every artefact of %s says its version', (name) => {
    const sysroot = imageRoot(artefact(foreign, new RegExp(`^${name}-.*\\.oci\\.tar$`)), dir);
    const debian = dir.join('deb');
    const rpm = dir.join('rpm');
    execFileSync('dpkg-deb', ['--extract', artefact(foreign, new RegExp(`^${name}_.*\\.deb$`)), debian]);
    unpackRpm(artefact(foreign, new RegExp(`^${name}-.*\\.rpm$`)), rpm);
    const library = join(sysroot, 'usr/lib', name);
    const others = [
      join(debian, 'usr/lib', name),
      join(rpm, 'usr/lib', name),
      join(untar(tarOf(name, foreign), dir, 'tar'), 'lib', name),
    ];
    for (const other of others) execFileSync('diff', ['--recursive', library, other]);
    expect(output(EMULATOR, '-L', sysroot, join(library, 'node'), join(library, 'main.js'), 'version')).toBe(
      `${name} ${VERSION}\n`,
    );
    const other = join(library, `kernel-calls-${process.arch === 'x64' ? 'arm64' : 'x64'}`);
    const script = join(ROOT, 'test/fixtures/kernel-calls.cjs');
    const calls = output(EMULATOR, '-L', sysroot, join(library, 'node'), script, other);
    expect(JSON.parse(calls)).toEqual({ written: 1, heard: [40], alive: 0, killedBy: 9, reaped: 0 });
    // An emulated launcher cannot start an emulated Node: it gets as far as finding it.
    const launched = spawnSync(EMULATOR, ['-E', 'PATH=/nowhere', join(debian, 'usr/bin', name), 'version'], {
      encoding: 'utf8',
    });
    expect(launched.stderr).toMatch(/its own Node\.js is for another processor/);
  });
});

test('a link to a launcher of a package runs it', () => {
  const base = untar(tarOf('kuma-dp-agent'), dir, 'agent');
  symlinkSync(join(base, 'bin/kuma-dp-agent'), dir.join('link'));
  expect(output(dir.join('link'), 'version')).toContain(VERSION);
});
