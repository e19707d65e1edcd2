/**
 * What each folder may import; everything else is an error. The name of a file says what it is:
 *
 * - `*.pure.ts` decides: no clock, no ports, no `node:*`;
 * - `*.io.ts` touches the world: the only place for `node:*` and packages;
 * - plain `*.ts` is the shell between them: it knows ports, and of an `.io.ts` only the types;
 * - wiring (`main.ts`, `engine.ts` and the folders marked so below) joins all of them.
 */

interface Folder {
  /** `shell` is the default. In `io` folders every file may touch the world, in `wiring` folders every file may join. */
  readonly kind?: 'shell' | 'io' | 'wiring';
  /** Folders of the same program that its files may import. */
  readonly uses?: readonly string[];
  /** Packages that its files of the kind io may import. */
  readonly packages?: readonly string[];
}

type Program = Readonly<Record<string, Folder>>;

const AGENT: Program = {
  child: { uses: ['state'] },
  commands: { kind: 'wiring' },
  companion: { uses: ['identity', 'object', 'stop', 'witness'], packages: ['@grpc/grpc-js'] },
  control: { uses: ['companion', 'object', 'state', 'stop'] },
  doctor: { kind: 'wiring', uses: ['identity', 'stop', 'systemd'] },
  envoy: { uses: ['child', 'identity'], packages: ['got', 'yaml'] },
  hooks: { uses: ['stop'] },
  identity: { packages: ['mustache', 'yaml'] },
  metrics: { uses: ['identity', 'object', 'state', 'stop', 'witness'], packages: ['prom-client'] },
  object: { uses: ['companion', 'envoy', 'identity', 'stop'] },
  run: { kind: 'wiring', uses: ['identity'] },
  state: { uses: ['object', 'stop', 'systemd'] },
  stop: { uses: ['child', 'envoy', 'identity', 'object'] },
  systemd: { uses: ['stop'] },
  witness: {},
};

const CONTROL_PLANE: Program = {
  agents: { uses: ['evidence', 'witness'] },
  commands: { kind: 'wiring', uses: ['control-planes'], packages: ['prom-client'] },
  'control-planes': {},
  departures: { uses: ['agents', 'evidence', 'witness'] },
  evidence: { uses: ['control-planes'] },
  page: { uses: ['agents', 'evidence', 'witness'] },
  rpc: {
    kind: 'io',
    uses: ['agents', 'departures', 'evidence', 'witness'],
    packages: ['@grpc/grpc-js'],
  },
  server: {
    uses: ['evidence', 'tokens', 'witness'],
    packages: ['@grpc/grpc-js', '@grpc/proto-loader', '@grpc/reflection', 'grpc-health-check', 'prom-client'],
  },
  store: {
    kind: 'io',
    uses: ['evidence'],
    packages: ['better-sqlite3', 'kysely', 'kysely/migration', 'p-limit', 'pg'],
  },
  tokens: { uses: ['control-planes'], packages: ['jose'] },
  witness: { uses: ['agents', 'departures', 'evidence'] },
};

/** This package does no I/O. */
const PURE_PACKAGES = ['zod/mini'];
/** A queue in memory. */
const SHELL_PACKAGES = ['p-limit'];

const NODE = ['node:*', 'node:*/*'];
const IO = ['./*.io.ts', '../*/*.io.ts', '../kuma/*.io.ts', '../../kuma/*.io.ts'];
/** Below both programs, from a file in one of their folders. */
const MODELS = ['../../kernel/*.ts', '../../kuma/*.ts'];
const BELOW = [...MODELS, '../../program/*.ts', '../../proto/**/*.ts'];

const NO_PURE = 'A .pure.ts file decides: take a value from the caller instead.';
const NO_SHELL = 'What is not .io.ts or wiring touches the world through a port. Types may be imported.';
const NOT_LISTED = 'This folder may not import that one: lint/layers.ts says what it may.';

interface Override {
  readonly files: string[];
  readonly rules: Record<string, unknown>;
}

/** One for each kind of file in each folder; the last match wins. */
export function layerOverrides(): Override[] {
  return [...foundations(), ...layersOf('agent', AGENT), ...layersOf('control-plane', CONTROL_PLANE)];
}

function foundations(): Override[] {
  const kuma = ['./*.ts', '../kernel/*.ts', ...PURE_PACKAGES];
  return [
    restrict(['kernel/**'], { allowed: ['./*.ts'] }),
    // The version.
    restrict(['kernel/version.ts'], { allowed: ['../package.json'] }),
    restrict(['proto/*.ts'], { allowed: ['./**/*.ts'] }),
    restrict(['program/**'], {
      allowed: ['./*.ts', '../kernel/*.ts', ...NODE, 'pino', 'prom-client'],
    }),
    restrict(['kuma/*.ts'], { allowed: kuma, typesOnly: [...IO, ...NODE] }),
    restrict(['kuma/*.io.ts'], {
      allowed: [...kuma, ...NODE, 'got', '../program/regular-file.ts', '../program/kept-files.ts'],
    }),
  ];
}

function layersOf(program: string, folders: Program): Override[] {
  const shared = ['../kernel/*.ts', '../kuma/*.ts', ...PURE_PACKAGES];
  return [
    // Tables and ports: of other folders they know what is pure, and types.
    restrict([`${program}/*.ts`], {
      allowed: ['./*.ts', './*/*.pure.ts', ...shared],
      typesOnly: ['./*/*.ts', './*/*.io.ts', '../kuma/*.io.ts', ...NODE],
    }),
    restrict([`${program}/*.pure.ts`], {
      allowed: ['./*.pure.ts', './*/*.pure.ts', ...shared],
    }),
    restrict([`${program}/main.ts`, `${program}/engine.ts`], {
      allowed: ['./*.ts', './*/*.ts', ...shared, '../program/*.ts', ...NODE],
    }),
    ...Object.entries(folders).flatMap(([name, folder]) => layersIn(`${program}/${name}`, folder)),
  ];
}

function layersIn(folder: string, { kind = 'shell', uses = [], packages = [] }: Folder): Override[] {
  const used = uses.map((name) => `../${name}/*.ts`);
  const own = ['./*.ts', '../*.ts'];
  const io = [...own, ...used, ...BELOW, ...NODE, ...packages, ...PURE_PACKAGES];
  const pure = [...own, ...used].map((path) => path.replace('*.ts', '*.pure.ts'));
  const rules: Record<typeof kind, Override> = {
    shell: restrict([`${folder}/*.ts`], {
      allowed: [...own, ...used, ...MODELS, ...SHELL_PACKAGES],
      typesOnly: [...IO, ...NODE, ...packages],
    }),
    wiring: restrict([`${folder}/*.ts`], { allowed: ['../*/*.ts', ...io] }),
    // Some folders of the store and of the RPCs have rules of their own.
    io: restrict([`${folder}/**/*.ts`], {
      allowed: ['./*/*.ts', ...io, ...io.filter((path) => path.startsWith('.')).map((path) => `../${path}`)],
    }),
  };
  return [
    rules[kind],
    restrict([`${folder}/*.io.ts`], { allowed: io }),
    restrict([`${folder}/*.pure.ts`], { allowed: [...pure, ...MODELS, ...PURE_PACKAGES] }),
  ];
}

/** Paths are as the import writes them, with the wildcards of a .gitignore; a `*` of `typesOnly` stands for no dot. */
function restrict(
  files: string[],
  {
    allowed,
    typesOnly = [],
  }: { readonly allowed: readonly string[]; readonly typesOnly?: readonly string[] },
): Override {
  const pure = files.every((file) => file.endsWith('.pure.ts'));
  // Regular expressions, because the lint rule does not combine two lists of globs.
  const types = typesOnly.map((path) => ({
    regex: asRegex(path),
    message: NO_SHELL,
    allowTypeImports: true,
  }));
  const list = {
    // The last match wins: this removes what only the list of models would allow.
    group: ['*', ...[...allowed, ...typesOnly].map((path) => `!${path}`), ...(pure ? IO : [])],
    message: pure ? NO_PURE : NOT_LISTED,
  };
  return { files, rules: { 'no-restricted-imports': ['error', { patterns: [...types, list] }] } };
}

function asRegex(path: string): string {
  return `^${path.replaceAll('.', String.raw`\.`).replaceAll('*', '[^/.]*')}$`;
}
