import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';
import { debianVersion } from '../../scripts/package/debian-package.ts';
import { ARCHITECTURE, buildPackages, EPOCH } from '../support/packages/build-packages.ts';
import { PackageFile } from '../support/packages/package-file.ts';
import { TemporaryDir } from '../support/world/temporary-dir.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const folder = inject('packageFolder');

function digests(of: string): Readonly<Record<string, string>> {
  const files = readdirSync(of).toSorted();
  return Object.fromEntries(
    files.map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(join(of, file)))
        .digest('hex'),
    ]),
  );
}

describe('a second build', () => {
  test('of the same sources in another folder, at another time, by another user, gives the same bytes', () => {
    using dir = new TemporaryDir();
    const checkout = dir.join('elsewhere');
    const parts = execFileSync('git', ['ls-files', '-z', ':!test', ':!docs'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    for (const file of parts.split('\0').filter((name) => name !== ''))
      cpSync(join(ROOT, file), join(checkout, file));
    symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
    // Downloads for the images are not part of the sources.
    symlinkSync(join(ROOT, '.cache'), join(checkout, '.cache'));
    const env = { TZ: 'Pacific/Auckland', LC_ALL: 'C', HOME: dir.path };
    const umask = process.umask(0o077);
    try {
      mkdirSync(dir.join('out'));
      execFileSync(process.execPath, ['scripts/build.ts'], {
        cwd: checkout,
        env: { ...process.env, ...env },
      });
      buildPackages({ checkout, out: dir.join('out'), env, formats: 'all' });
    } finally {
      process.umask(umask);
    }
    expect(digests(dir.join('out'))).toEqual(digests(folder));
  });

  test('of another time differs: the comparison can fail', () => {
    using dir = new TemporaryDir();
    buildPackages({ out: dir.path, env: { SOURCE_DATE_EPOCH: String(EPOCH + 2) } });
    const [agent, ...others] = Object.keys(digests(dir.path)).filter((file) => file !== 'SHA256SUMS');
    expect(others).toHaveLength(1);
    expect(digests(dir.path)[agent ?? '']).not.toBe(digests(folder)[agent ?? '']);
  });
});

describe('a version', () => {
  test.for([
    ['1.2.3', '1.2.3-1'],
    ['1.2.3-rc.1', '1.2.3~rc.1-1'],
    ['1.2.3-rc-2.4', '1.2.3~rc.2.4-1'],
  ])('%s becomes %s', ([version = '', expected]) => {
    expect(debianVersion(version, 1)).toBe(expected);
  });

  test('of a candidate sorts before the release, and a revision after the one before it', () => {
    const sorted = [debianVersion('1.0.0-rc.1', 2), debianVersion('1.0.0', 1), debianVersion('1.0.0', 2)];
    for (const [at, lower] of sorted.slice(0, -1).entries()) {
      const { status } = spawnSync('dpkg', ['--compare-versions', lower, 'lt', sorted[at + 1] ?? '']);
      expect(status, `${lower} < ${sorted[at + 1]}`).toBe(0);
    }
  });
});

/**
 * A copy with a small program in place of Node: lintian reads every word of a binary, which takes half a minute. The
 * overrides have its complaints about Node itself.
 */
function withoutNode(unpacked: PackageFile, dir: TemporaryDir): string {
  const root = dir.join('root');
  execFileSync('dpkg-deb', ['--raw-extract', unpacked.file, root]);
  copyFileSync('/bin/true', join(root, 'usr/lib', unpacked.name, 'node'));
  const copy = dir.join(basename(unpacked.file));
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '-z1', '--build', root, copy], { stdio: 'pipe' });
  return copy;
}

const DOCUMENTS = ['changelog.Debian.gz', 'changelog.gz', 'copyright', 'sbom.cdx.json'];

describe.each([
  {
    name: 'kuma-dp-agent',
    section: '1',
    environment: '-rw-r--r-- /etc/default/kuma-dp-agent',
    conffiles: ['/etc/default/kuma-dp-agent', '/etc/needrestart/conf.d/kuma-dp-agent.conf'],
    depends: 'libc6 (>= 2.28), libgcc-s1 | libgcc1, libstdc++6 (>= 7)',
    own: [
      '-rw-r--r-- /etc/needrestart/conf.d/kuma-dp-agent.conf',
      '-rw-r--r-- /usr/lib/systemd/system/kuma-dp.service',
      '-rw-r--r-- /usr/lib/systemd/system/kuma-dp.service.d/10-kuma-dp-agent.conf',
      '-rw-r--r-- /usr/lib/systemd/system/kuma-dp@.service',
      '-rw-r--r-- /usr/lib/systemd/system/kuma-dp@.service.d/10-kuma-dp-agent.conf',
      '-rw-r--r-- /usr/lib/sysusers.d/kuma-dp-agent.conf',
      '-rw-r--r-- /usr/lib/tmpfiles.d/kuma-dp-agent.conf',
      '-rw-r--r-- /usr/share/doc/kuma-dp-agent/examples/application.conf',
    ],
  },
  {
    name: 'kuma-deregistrar',
    section: '8',
    environment: '-rw-r----- /etc/default/kuma-deregistrar',
    conffiles: ['/etc/default/kuma-deregistrar'],
    depends: 'libc6 (>= 2.34), libgcc-s1 | libgcc1, libstdc++6 (>= 11)',
    own: [
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/grpc/reflection/v1alpha/reflection.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/sample/sample.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/sample/unscoped.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/sample/vendor/common.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/sample/vendor/dependency/dependency.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/@grpc/reflection/build/proto/sample/vendor/vendor.proto',
      `-rw-r--r-- /usr/lib/kuma-deregistrar/assets/better-sqlite3/prebuilds/linux-${process.arch}.node`,
      '-rw-r--r-- /usr/lib/kuma-deregistrar/assets/grpc-health-check/proto/health/v1/health.proto',
      '-rw-r--r-- /usr/lib/kuma-deregistrar/fleet.html',
      '-rw-r--r-- /usr/lib/systemd/system/kuma-deregistrar.service',
      '-rw-r--r-- /usr/lib/sysusers.d/kuma-deregistrar.conf',
    ],
  },
] as const)('the package $name', ({ name, section, environment, conffiles, depends, own }) => {
  let unpacked: PackageFile;

  beforeAll(() => {
    unpacked = new PackageFile(folder, name);
  });

  afterAll(() => {
    unpacked[Symbol.dispose]();
  });

  test('puts these files on a host, and pieces of the bundle beside its main.js', () => {
    const { entries } = unpacked;
    expect(new Set(entries.map(({ owner }) => owner))).toEqual(new Set(['root/root']));
    const folders = entries.filter(({ mode }) => mode.startsWith('d'));
    expect(new Set(folders.map(({ mode }) => mode))).toEqual(new Set(['drwxr-xr-x']));
    const pieces = new RegExp(`^/usr/lib/${name}/(?!main\\.js$)[^/]+\\.js$`);
    const files = entries
      .filter(({ mode, path }) => !mode.startsWith('d') && !pieces.test(path))
      .map(({ mode, path }) => `${mode} ${path}`);
    const starters =
      name === 'kuma-dp-agent' ? [`-rwxr-xr-x /usr/lib/${name}/exec-bytes-${process.arch}`] : [];
    const expected = [
      environment,
      `-rwxr-xr-x /usr/bin/${name}`,
      `-rw-r--r-- /usr/lib/${name}/main.js`,
      ...starters,
      `-rw-r--r-- /usr/lib/${name}/kernel-calls-${process.arch}`,
      `-rwxr-xr-x /usr/lib/${name}/node`,
      `-rw-r--r-- /usr/lib/${name}/package.json`,
      `-rw-r--r-- /usr/share/bash-completion/completions/${name}`,
      ...DOCUMENTS.map((document) => `-rw-r--r-- /usr/share/doc/${name}/${document}`),
      `-rw-r--r-- /usr/share/fish/vendor_completions.d/${name}.fish`,
      `-rw-r--r-- /usr/share/lintian/overrides/${name}`,
      `-rw-r--r-- /usr/share/zsh/vendor-completions/_${name}`,
      `-rw-r--r-- /usr/share/man/man${section}/${name}.${section}.gz`,
      ...own,
    ];
    expect(files.toSorted()).toEqual(expected.toSorted());
  });

  test('says this of itself', () => {
    const fields = execFileSync('dpkg-deb', ['--field', unpacked.file], { encoding: 'utf8' });
    const [summary = ''] = fields.split('\n').filter((line) => line.startsWith('Description: '));
    const size = /^Installed-Size: (\d+)$/m.exec(fields)?.[1];
    expect(fields.slice(0, fields.indexOf(summary))).toBe(
      `Package: ${name}
Version: ${VERSION}-1
Architecture: ${ARCHITECTURE}
Maintainer: kuma-dp-agent developers <packages@kuma-dp-agent.invalid>
Section: net
Priority: optional
Depends: ${depends}
Recommends: ca-certificates, systemd
Installed-Size: ${size}
`,
    );
    const used = execFileSync('du', ['-sk', '--apparent-size', unpacked.root], { encoding: 'utf8' });
    expect(Math.abs(Number(size) - Number.parseInt(used, 10)), 'KiB apart').toBeLessThan(1_000);
  });

  test('lets dpkg ask before it overwrites a changed file, and lets dpkg -V compare the rest', () => {
    expect(readFileSync(unpacked.control('conffiles'), 'utf8')).toBe(`${conffiles.join('\n')}\n`);
    execFileSync('md5sum', ['--check', '--quiet', '--strict', unpacked.control('md5sums')], {
      cwd: unpacked.root,
    });
  });

  test('has code of its own processor alone, without what only a debugger needs', () => {
    const binaries = unpacked.entries.filter(({ path }) => /(\/node|\.node)$/.test(path));
    expect(binaries.length).toBeGreaterThan(0);
    for (const { path } of binaries) {
      const sections = execFileSync('readelf', ['--wide', '--sections', join(unpacked.root, path)], {
        encoding: 'utf8',
      });
      expect(sections, path).not.toMatch(/\.symtab|\.debug_info/);
    }
  });

  test('passes lintian, but for what its overrides give a reason for', () => {
    using dir = new TemporaryDir();
    const copy = withoutNode(unpacked, dir);
    // Compressed otherwise than the published packages.
    const suppress = ['--suppress-tags', 'malformed-deb-archive,md5sum-mismatch'];
    const lintian = spawnSync('lintian', ['--allow-root', '--fail-on', 'error,warning', ...suppress, copy], {
      encoding: 'utf8',
      // It leaves files behind.
      env: { ...process.env, TMPDIR: dir.path },
    });
    expect(`${lintian.stdout}${lintian.stderr}`).toBe('');
    expect(lintian.status).toBe(0);
  });

  test('has maintainer scripts that any shell understands', () => {
    const scripts = ['postinst', 'prerm', 'postrm'].map((script) => unpacked.control(script));
    for (const script of scripts) execFileSync('sh', ['-n', script]);
    const found = spawnSync('shellcheck', ['--shell', 'sh', ...scripts], {
      encoding: 'utf8',
    });
    expect(found.stdout).toBe('');
  });
});

test('needrestart leaves dataplanes alone, and nothing else', () => {
  using agent = new PackageFile(folder, 'kuma-dp-agent');
  // As needrestart reads the files of its folder, and looks for the first expression that fits.
  const script =
    'our %nrconf; eval shift; die $@ if $@; my $rc = $nrconf{override_rc};' +
    'for my $unit (@ARGV) { my ($fits) = grep { $unit =~ /$_/ } keys %$rc; print "$unit ", defined $fits ? $rc->{$fits} : "-", "\\n" }';
  const units = ['kuma-dp.service', 'kuma-dp@web-1.service', 'kuma-dp-other.service', 'my-kuma-dp.service'];
  const snippet = agent.read('etc/needrestart/conf.d/kuma-dp-agent.conf');
  expect(execFileSync('perl', ['-e', script, snippet, ...units], { encoding: 'utf8' })).toBe(
    'kuma-dp.service 0\nkuma-dp@web-1.service 0\nkuma-dp-other.service -\nmy-kuma-dp.service -\n',
  );
});
