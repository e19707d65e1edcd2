/**
 * Bundles each program into `dist/`: CommonJS, split so that what starts kuma-dp is loaded first and the rest after.
 * `dist/bin/NAME` runs it on the Node that the repository pins, from any directory. Needs no compiler.
 *
 * With `--crash-points` it makes the test build instead, in `dist-crash-points/`: the companion ends where
 * `test/support/crash-points.ts` is told to.
 */
import { chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

import { rolldown, type OutputChunk, type Plugin } from 'rolldown';

import { diskProblem } from './disk-problem.ts';
import { entryModule, launcher } from './launcher.ts';
import { prebuilt, type NativeProgram } from './native-programs.ts';

/**
 * Modules that the packages would load for unused features: got's HTTP/2, decompression and caches, pino's worker
 * threads and files, gRPC's channelz and load reports. Together 5 MB of an idle agent.
 */
const UNUSED: readonly { readonly id: RegExp; readonly importer: RegExp }[] = [
  { id: /^node:http2$|\/http2-client\.js$/, importer: /node_modules\/got\// },
  { id: /^decompress-response$|\/decompress-response\.js$/, importer: /node_modules\/got\// },
  { id: /^cacheable-request$|^keyv$|\/dns-cache\.js$/, importer: /node_modules\/got\// },
  {
    id: /^sonic-boom$|^worker_threads$|^\.\/transport$|^\.\/lib\/transport$/,
    importer: /node_modules\/pino\//,
  },
  { id: /^@grpc\/proto-loader$/, importer: /node_modules\/@grpc\/grpc-js\// },
];

const withoutUnused: Plugin = {
  name: 'without-unused',
  resolveId: (id, importer = '') =>
    UNUSED.some((unused) => unused.id.test(id) && unused.importer.test(importer))
      ? fileURLToPath(new URL('unused-module.cjs', import.meta.url))
      : null,
};

/**
 * got's type checks use two of these for their error texts when they are loaded, which maps 4.4 MB of language data.
 */
const LIST_FORMAT = /new Intl\.ListFormat\([^;]*\);/g;

const withoutLanguageData: Plugin = {
  name: 'without-language-data',
  transform: {
    filter: { id: /@sindresorhus\/is\// },
    handler: (code) => code.replaceAll(LIST_FORMAT, "{ format: (items) => [...items].join(', ') };"),
  },
};

/** Files that packages read or load from beside their own code at run time. Paths below `node_modules`. */
const ASSETS = [
  'better-sqlite3/prebuilds/linux-x64.node',
  'better-sqlite3/prebuilds/linux-arm64.node',
  'grpc-health-check/proto',
  '@grpc/reflection/build/proto',
] as const;

/** The packages' code finds these files in `assets/` beside the bundle, laid out as in their own folder. */
const withAssets: Plugin = {
  name: 'with-assets',
  transform: {
    filter: { id: /node_modules\/(better-sqlite3|grpc-health-check|@grpc\/reflection)\// },
    handler: (code, id) => {
      const folder = dirname(id.split('/node_modules/').at(-1) ?? '');
      return code.replaceAll(/\b__dirname\b/g, `(__dirname + ${JSON.stringify(`/assets/${folder}`)})`);
    },
  },
};

const PROCESSORS = ['x64', 'arm64'] as const;

function nativeFiles(...programs: readonly NativeProgram[]): readonly string[] {
  return programs.flatMap((program) => PROCESSORS.map((cpu) => `native/prebuilt/${prebuilt(program, cpu)}`));
}

const PROGRAMS = [
  {
    name: 'kuma-dp-agent',
    entry: 'agent/main.ts',
    assets: [],
    // `exec-bytes` starts kuma-dp, Node loads `kernel-calls`.
    files: nativeFiles('exec-bytes', 'kernel-calls'),
  },
  {
    name: 'kuma-deregistrar',
    entry: 'control-plane/main.ts',
    assets: ASSETS,
    // The program reads them from beside its code.
    files: ['control-plane/page/fleet.html', ...nativeFiles('kernel-calls')],
  },
] as const;

const withCrashPoints = process.argv.includes('--crash-points');
const target = withCrashPoints ? 'dist-crash-points' : 'dist';

const crashPoints: Plugin = {
  name: 'crash-points',
  resolveId: (id) =>
    withCrashPoints && id.endsWith('/crash-points.ts')
      ? fileURLToPath(new URL('../test/support/crash-points.ts', import.meta.url))
      : null,
};

try {
  await build();
} catch (error) {
  const problem = diskProblem(error);
  if (problem === undefined) throw error;
  console.error(`Cannot build ${target}: ${problem}, then run the same command again.`);
  process.exitCode = 1;
}

async function build(): Promise<void> {
  // For the list of what a package contains (`scripts/package/`).
  const bundled: Record<string, readonly string[]> = {};
  rmSync(target, { recursive: true, force: true });
  mkdirSync(`${target}/bin`, { recursive: true });
  // The folder above says "type": "module".
  writeFileSync(`${target}/package.json`, `${JSON.stringify({ type: 'commonjs' })}\n`);
  for (const { name, entry, assets, files } of PROGRAMS) {
    const bundle = await rolldown({
      input: { main: entry },
      platform: 'node',
      logLevel: 'warn',
      plugins: [withoutUnused, withoutLanguageData, withAssets, crashPoints],
    });
    const { output } = await bundle.write({
      dir: `${target}/${name}`,
      format: 'cjs',
      minify: true,
      entryFileNames: 'program.js',
      // Without the suffix that the file's name has already.
      chunkFileNames: ({ name: chunk }) => `${chunk.replace(/\.(?:io|pure)$/, '')}.js`,
    });
    await bundle.close();
    for (const asset of assets)
      cpSync(`node_modules/${asset}`, `${target}/${name}/assets/${asset}`, { recursive: true });
    for (const file of files) cpSync(file, `${target}/${name}/${basename(file)}`);
    writeFileSync(`${target}/${name}/main.js`, entryModule(name));
    bundled[name] = packagesOf(output.filter((file) => file.type === 'chunk'));
    writeFileSync(
      `${target}/bin/${name}`,
      launcher({
        name,
        cpu: process.arch,
        nodes: PROCESSORS.map((cpu) => `../node_modules/node-linux-${cpu}/bin/node`),
        main: `${name}/main.js`,
      }),
    );
    chmodSync(`${target}/bin/${name}`, 0o755);
  }
  writeFileSync(`${target}/bundled-packages.json`, `${JSON.stringify(bundled, null, 2)}\n`);
}

/** The packages whose code is in the bundle after tree shaking, as the lockfile names them. Sorted. */
function packagesOf(chunks: readonly OutputChunk[]): readonly string[] {
  const modules = chunks.flatMap((chunk) => Object.entries(chunk.modules));
  const folders = modules.flatMap(([id, { renderedLength }]) => {
    const folder = /\/(node_modules\/(.*\/node_modules\/)?(@[^/]+\/)?[^/]+)/.exec(id)?.[1];
    return folder === undefined || renderedLength === 0 ? [] : [folder];
  });
  return [...new Set(folders)].toSorted();
}
