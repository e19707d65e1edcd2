import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  copyFileSync,
  chmodSync,
} from 'node:fs';
import { join } from 'node:path';

import type { Processor } from './processor.ts';
import { runTool } from './tools.ts';

export interface BasePackage {
  readonly name: string;
  readonly version: string;
}

/**
 * `libstdc++6`, `libgcc-s1`: Node needs them and distroless images lack them. `busybox-static`: the watch over a killed agent
 * needs a shell. `ca-certificates`: an endpoint may be verified by the system's roots.
 */
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6', 'tini', 'busybox-static', 'ca-certificates'] as const;

const CACHE = '.cache/image-base';

/**
 * Lays out below `root` what an image needs beside the program, from Debian's packages for its processor. They are of the
 * release of the machine that builds, as apt is set up there.
 *
 * @throws Error where apt cannot fetch them
 */
export function imageBase({ debian }: Processor, root: string): readonly BasePackage[] {
  const folder = join(CACHE, debian);
  if (!existsSync(folder)) fetchPackages(debian, folder);
  const files = readdirSync(folder).toSorted();
  const parts = `${root}.parts`;
  for (const file of files) runTool('dpkg-deb', ['--extract', join(folder, file), parts]);
  takeLibraries(parts, root);
  takePrograms(parts, root);
  takeLicences(parts, root);
  writeSettings(parts, root);
  rmSync(parts, { recursive: true });
  return files.map((file) => {
    const [name = '', version = ''] = decodeURIComponent(file).split('_');
    return { name, version };
  });
}

/** Uses package lists of its own: those of this machine stay unchanged, and may be of another processor. */
function fetchPackages(architecture: string, folder: string): void {
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  for (const each of ['state/lists/partial', 'cache/archives/partial', 'packages'])
    mkdirSync(join(part, each), { recursive: true });
  writeFileSync(join(part, 'status'), '');
  const absolute = (path: string): string => join(process.cwd(), part, path);
  const settings = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': '',
    'Dir::State': absolute('state'),
    'Dir::State::status': absolute('status'),
    'Dir::Cache': absolute('cache'),
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  runTool('apt-get', [...options, '-qq', 'update']);
  runTool('apt-get', [...options, '-qq', 'download', ...PACKAGES], { cwd: absolute('packages') });
  renameSync(join(part, 'packages'), folder);
  rmSync(part, { recursive: true });
}

/**
 * glibc goes where its loader looks first, the C++ libraries into `/usr/lib`, where it looks last: over another image
 * they do not hide that image's own.
 */
function takeLibraries(parts: string, root: string): void {
  mkdirSync(join(root, 'usr/lib'), { recursive: true });
  for (const folder of ['lib', 'lib64'])
    if (existsSync(join(parts, folder))) runTool('cp', ['-a', join(parts, folder), join(root, folder)]);
  const cxx = join(parts, 'usr/lib');
  for (const source of [cxx, join(root, 'lib')]) {
    const multiarch = readdirSync(source).find((name) => name.endsWith('-linux-gnu'));
    if (multiarch === undefined) continue;
    for (const file of readdirSync(join(source, multiarch)))
      if (/^lib(stdc\+\+|gcc_s)\.so\.\d+$/.test(file))
        copyFileSync(join(source, multiarch, file), join(root, 'usr/lib', file));
  }
  for (const file of readdirSync(join(root, 'usr/lib'))) chmodSync(join(root, 'usr/lib', file), 0o644);
}

function takePrograms(parts: string, root: string): void {
  for (const folder of ['bin', 'usr/bin']) mkdirSync(join(root, folder), { recursive: true });
  for (const [from, to] of [
    ['bin/busybox', 'bin/sh'],
    ['usr/bin/tini-static', 'usr/bin/tini'],
  ] as const) {
    copyFileSync(join(parts, from), join(root, to));
    chmodSync(join(root, to), 0o755);
  }
}

function takeLicences(parts: string, root: string): void {
  const docs = join(parts, 'usr/share/doc');
  for (const name of readdirSync(docs)) {
    const file = join(docs, name, 'copyright');
    if (!existsSync(file)) continue;
    mkdirSync(join(root, 'usr/share/doc', name), { recursive: true });
    copyFileSync(file, join(root, 'usr/share/doc', name, 'copyright'));
  }
}

function writeSettings(parts: string, root: string): void {
  const certificates = join(parts, 'usr/share/ca-certificates/mozilla');
  const bundle = readdirSync(certificates)
    .toSorted()
    .map((file) => readFileSync(join(certificates, file), 'utf8').trimEnd());
  const settings: Readonly<Record<string, string>> = {
    'etc/ssl/certs/ca-certificates.crt': `${bundle.join('\n')}\n`,
    'etc/nsswitch.conf': 'hosts: files dns\n',
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/nonexistent:/bin/false\n',
    'etc/group': 'root:x:0:\nnonroot:x:65532:\n',
  };
  for (const [path, text] of Object.entries(settings)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}
