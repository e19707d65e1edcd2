import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { gzipFile } from './gzip-file.ts';
import { imageBase, type BasePackage } from './image-base.ts';
import { layOut, type PackagedFiles } from './packaged-files.ts';
import type { Processor } from './processor.ts';
import { archive, type TarBuild } from './tarball.ts';

export interface OciImage {
  readonly name: string;
  readonly version: string;
  readonly summary: string;
  readonly licence: string;
  readonly processor: Processor;
  readonly files: PackagedFiles;
  /** Folders that its user may write to. */
  readonly writable: readonly string[];
}

interface Blob {
  readonly digest: string;
  readonly size: number;
}

/** Files that a container does not need: no systemd, no manual, no completion. */
const NOT_OF_USE =
  /^(etc|usr\/lib\/(systemd|sysusers\.d|tmpfiles\.d)|usr\/share\/(man|bash-completion|fish|zsh|lintian))\//;

/** The user `nonroot` of distroless images; Kuma's own images run as the same. */
const USER = 65_532;

/**
 * An archive with an OCI image layout, which `docker load`, `podman load` and `skopeo` read: a layer with glibc and an
 * init, a layer with the program and its Node. The same input gives the same bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
 */
export function buildImage(image: OciImage, build: TarBuild): void {
  const { epoch, fast, workDir, target } = build;
  const layout = join(workDir, 'layout');
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const base = join(workDir, 'base');
  const packages = imageBase(image.processor, base);
  const program = join(workDir, 'program');
  mkdirSync(program);
  layOut(program, new Map([...image.files].filter(([path]) => !NOT_OF_USE.test(path))), epoch);
  const level = fast ? 1 : 9;
  const layers = [base, program].map((root) => {
    const plain = `${root}.tar`;
    archive({ from: root, parts: readdirSync(root).toSorted(), epoch, target: plain, plainModes: true });
    if (root === program) addWritable(image.writable, { plain, workDir, epoch });
    gzipFile(plain, `${plain}.gz`, level);
    return { diffId: digestOf(plain), ...storeBlob(layout, `${plain}.gz`) };
  });
  const config = storeJson(layout, configOf(image, { layers, packages, epoch }), workDir);
  const manifest = storeJson(layout, manifestOf(config, layers), workDir);
  writeIndex(layout, image, { config, manifest, layers });
  rmSync(target, { force: true });
  archive({ from: layout, parts: readdirSync(layout).toSorted(), epoch, target, plainModes: true });
}

/** Folders of the image's user, in a layer in which everything else is root's. */
function addWritable(
  folders: readonly string[],
  { plain, workDir, epoch }: { readonly plain: string; readonly workDir: string; readonly epoch: number },
): void {
  if (folders.length === 0) return;
  const root = join(workDir, 'writable');
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true, mode: 0o755 });
  archive({ from: root, parts: folders, epoch, target: plain, owner: USER, append: true, plainModes: true });
}

function configOf(
  { name, version, summary, licence, processor }: OciImage,
  made: {
    readonly layers: readonly { readonly diffId: string }[];
    readonly packages: readonly BasePackage[];
    readonly epoch: number;
  },
): object {
  const created = new Date(made.epoch * 1_000).toISOString().replace('.000', '');
  return {
    created,
    architecture: processor.debian,
    os: 'linux',
    config: {
      User: `${USER}:${USER}`,
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Entrypoint: ['/usr/bin/tini', '--', `/usr/bin/${name}`],
      Cmd: ['help'],
      WorkingDir: '/',
      Labels: {
        'org.opencontainers.image.title': name,
        'org.opencontainers.image.description': summary,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': licence,
        'org.opencontainers.image.created': created,
        'base.packages': made.packages.map((each) => `${each.name}=${each.version}`).join(' '),
      },
    },
    rootfs: { type: 'layers', diff_ids: made.layers.map(({ diffId }) => diffId) },
    history: [
      { created, created_by: 'glibc, C++ library, tini, busybox sh, certificates of Debian' },
      { created, created_by: `${name} ${version} and its Node.js` },
    ],
  };
}

function manifestOf(config: Blob, layers: readonly Blob[]): object {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest,
      size,
    })),
  };
}

function writeIndex(
  layout: string,
  { name, version, processor }: OciImage,
  blobs: { readonly config: Blob; readonly manifest: Blob; readonly layers: readonly Blob[] },
): void {
  const tag = `${name}:${version}`;
  writeJson(join(layout, 'oci-layout'), { imageLayoutVersion: '1.0.0' });
  writeJson(join(layout, 'index.json'), {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        ...blobs.manifest,
        platform: { architecture: processor.debian, os: 'linux' },
        annotations: {
          'org.opencontainers.image.ref.name': version,
          'io.containerd.image.name': `docker.io/library/${tag}`,
        },
      },
    ],
  });
  // For a Docker version that does not read image layouts yet: the same blobs.
  const pathOf = ({ digest }: Blob): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;
  writeJson(join(layout, 'manifest.json'), [
    { Config: pathOf(blobs.config), RepoTags: [tag], Layers: blobs.layers.map(pathOf) },
  ]);
}

function storeBlob(layout: string, file: string): Blob {
  const digest = digestOf(file);
  copyFileSync(file, join(layout, 'blobs/sha256', digest.slice('sha256:'.length)));
  return { digest, size: statSync(file).size };
}

function storeJson(layout: string, content: object, workDir: string): Blob {
  const file = join(workDir, 'content.json');
  writeJson(file, content);
  return storeBlob(layout, file);
}

function writeJson(file: string, content: unknown): void {
  writeFileSync(file, JSON.stringify(content));
}

function digestOf(file: string): string {
  return `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`;
}
