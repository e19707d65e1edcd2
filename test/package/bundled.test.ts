import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { VERSION } from '../../kernel/version.ts';
import { EPOCH } from '../support/packages/build-packages.ts';
import { PackageFile } from '../support/packages/package-file.ts';

const ROOT = join(import.meta.dirname, '..', '..');

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses: readonly object[];
  readonly cpe?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly components?: readonly { readonly name: string; readonly version: string }[];
}

const lockfile = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity?: string }>>;
};

/** Every version of a package in the lockfile, with npm's checksum of its bytes. */
function locked(name: string): readonly { readonly version: string; readonly sha512: string }[] {
  return Object.entries(lockfile.packages)
    .filter(([folder]) => folder.endsWith(`node_modules/${name}`))
    .map(([, { version, integrity = '' }]) => ({
      version,
      sha512: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex'),
    }));
}

/** In both programs. */
const SHARED = [
  '@bufbuild/protobuf',
  '@grpc/grpc-js',
  '@js-sdsl/ordered-map',
  '@opentelemetry/api',
  '@pinojs/redact',
  '@sindresorhus/is',
  'bintrees',
  'byte-counter',
  'chunk-data',
  'got',
  'lowercase-keys',
  'node',
  'on-exit-leak-free',
  'pino',
  'pino-std-serializers',
  'prom-client',
  'quick-format-unescaped',
  'safe-stable-stringify',
  'tdigest',
  'uint8array-extras',
  'zod',
];

describe.each([
  { name: 'kuma-dp-agent', own: ['mustache', 'yaml'] },
  {
    name: 'kuma-deregistrar',
    own: [
      // Of gRPC's reflection and health: they read descriptors while they run.
      '@grpc/proto-loader',
      '@protobufjs/aspromise',
      '@protobufjs/base64',
      '@protobufjs/codegen',
      '@protobufjs/eventemitter',
      '@protobufjs/fetch',
      '@protobufjs/float',
      '@protobufjs/path',
      '@protobufjs/pool',
      '@protobufjs/utf8',
      'lodash.camelcase',
      'long',
      'protobufjs',
      '@grpc/reflection',
      'better-sqlite3',
      'grpc-health-check',
      'jose',
      'kysely',
      'node-addon-api',
      'p-limit',
      'pg',
      'pg-cloudflare',
      'pg-connection-string',
      'pg-int8',
      'pg-pool',
      'pg-protocol',
      'pg-types',
      'pgpass',
      'postgres-array',
      'postgres-bytea',
      'postgres-date',
      'postgres-interval',
      'split2',
      'sqlite',
      'xtend',
      'yocto-queue',
    ],
  },
] as const)('what $name brings along', ({ name, own }) => {
  let unpacked: PackageFile;
  let components: readonly Component[];

  beforeAll(() => {
    unpacked = new PackageFile(inject('packageFolder'), name);
    components = (
      JSON.parse(unpacked.read(`usr/share/doc/${name}/sbom.cdx.json`)) as { components: Component[] }
    ).components;
  });

  afterAll(() => {
    unpacked[Symbol.dispose]();
  });

  test('is listed, and nothing else: extend this list when you bundle more', () => {
    expect(components.map((component) => component.name).toSorted()).toEqual([...SHARED, ...own].toSorted());
  });

  test('is listed in the versions and with the hashes of the lockfile', () => {
    const fromNpm = components.filter(({ purl }) => purl.startsWith('pkg:npm/'));
    expect(fromNpm).toHaveLength(components.filter(({ cpe }) => cpe === undefined).length);
    for (const component of fromNpm) {
      const { version, purl, hashes = [] } = component;
      expect(purl).toBe(`pkg:npm/${component.name.replace('@', '%40')}@${version}`);
      expect(hashes.map(({ alg }) => alg)).toEqual(['SHA-512']);
      expect(locked(component.name), component.name).toContainEqual({ version, sha512: hashes[0]?.content });
    }
  });

  test('is a CycloneDX document of this version and this commit, in which each part has a name of its own', () => {
    const text = unpacked.read(`usr/share/doc/${name}/sbom.cdx.json`);
    const { metadata, bomFormat, specVersion } = JSON.parse(text) as Record<string, unknown>;
    expect({ bomFormat, specVersion, metadata }).toEqual({
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      metadata: {
        timestamp: new Date(EPOCH * 1_000).toISOString(),
        component: {
          type: 'application',
          'bom-ref': name,
          name,
          version: VERSION,
          licenses: [{ license: { id: 'Apache-2.0' } }],
        },
      },
    });
    expect(new Set(components.map(({ purl }) => purl)).size).toBe(components.length);
  });

  test('counts what Node itself has been linked with', () => {
    const node = components.find((component) => component.name === 'node');
    expect(node).toMatchObject({
      version: process.versions.node,
      cpe: `cpe:2.3:a:nodejs:node.js:${process.versions.node}:*:*:*:*:*:*:*`,
    });
    expect(node?.components).toContainEqual({
      type: 'library',
      name: 'openssl',
      version: process.versions['openssl'],
    });
  });

  test('has its licence in the file "copyright", each the whole text', () => {
    const sections = unpacked.read(`usr/share/doc/${name}/copyright`).split(`${'-'.repeat(78)}\n`);
    const [, ...pairs] = sections;
    const texts = new Map(
      pairs.flatMap((titles, at) =>
        at % 2 === 0
          ? titles
              .trim()
              .split('\n')
              .map((title) => [title, pairs[at + 1] ?? ''] as const)
          : [],
      ),
    );
    expect([...texts.keys()].map((title) => title.replace(/ \(.*/, '')).toSorted()).toEqual(
      components.map((component) => `${component.name} ${component.version}`).toSorted(),
    );
    for (const [title, text] of texts)
      expect(text, title).toMatch(
        /Permission is hereby granted|Redistribution and use|TERMS AND CONDITIONS|Permission to use|blessing/,
      );
  });
});
