// @ts-check
/** What `scripts/run.cjs` finds on this machine. Plain JavaScript for Node 12.22 and later. */
'use strict';

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const { isInstalled, unmet } = require('./decisions.cjs');

/** The checkout. */
const ROOT = path.resolve(__dirname, '..', '..');
/** By its path: it depends on npm which of its packages brings a `.bin/node`. */
const PINNED_NODE = path.join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
/** npm's list of what it has installed. */
const INSTALLED = path.join('node_modules', '.package-lock.json');
const MACHINE = { platform: process.platform, processor: process.arch };
/** Fails if neither pip is installed nor the module that makes a virtual environment with pip. */
const PYTHON_CHECK =
  'try:\n  import pip\nexcept ImportError:\n  import venv, ensurepip\n  ensurepip.version()';

/**
 * @param {import('./decisions.cjs').Order} order
 * @returns {readonly string[]} what this machine lacks for the order, one line each
 */
function examine({ install, envoy }) {
  return unmet({
    platform: MACHINE.platform,
    processor: MACHINE.processor,
    glibc: hasGlibc(),
    node: process.versions.node,
    npm: (/^npm\/(\S+)/.exec(process.env['npm_config_user_agent'] || '') || [])[1],
    freeMb: install && !packagesAreInstalled() ? roomMb() : undefined,
    unwritable: install ? whyUnwritable(ROOT) : undefined,
    python: envoy && !hasEnvoy() ? pythonState() : 'not needed',
    folder: ROOT,
  });
}

function hasGlibc() {
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  return header.glibcVersionRuntime !== undefined;
}

/** @param {string} folder */
function whyUnwritable(folder) {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return undefined;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code;
  }
}

/** Whether `scripts/install-envoy.ts` will find one without a download. */
function hasEnvoy() {
  if (process.env['ENVOY_BIN']) return true;
  const cache = path.join(ROOT, '.cache', 'envoy');
  const cached = fs.existsSync(cache)
    ? fs.readdirSync(cache).map((version) => path.join(cache, version))
    : [];
  const folders = (process.env['PATH'] || '').split(path.delimiter).concat(cached);
  return folders.some((folder) => fs.existsSync(path.join(folder, 'envoy')));
}

/** @returns {'ready' | 'no venv' | 'missing'} */
function pythonState() {
  const { error, status } = spawnSync('python3', ['-c', PYTHON_CHECK], { stdio: 'ignore' });
  if (error !== undefined) return 'missing';
  return status === 0 ? 'ready' : 'no venv';
}

/**
 * @param {string} file below the checkout
 * @returns {import('./decisions.cjs').Lockfile | undefined}
 */
function lockfile(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(ROOT, file), 'utf8'));
  } catch {
    return undefined;
  }
}

/** `package-lock.json`. */
function wantedPackages() {
  return lockfile('package-lock.json') || {};
}

function packagesAreInstalled() {
  return isInstalled(wantedPackages(), lockfile(INSTALLED), MACHINE) && pinnedNodeRuns();
}

/** A disk that fills up leaves half a file, and npm does not notice. */
function pinnedNodeRuns() {
  return spawnSync(PINNED_NODE, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** The packages that `npm ci` has left are not reliable: the next run installs anew. */
function distrustPackages() {
  if (fs.existsSync(path.join(ROOT, INSTALLED))) fs.unlinkSync(path.join(ROOT, INSTALLED));
}

/** @returns {number | undefined} megabytes that an install can use: it first removes what is installed */
function roomMb() {
  const free = freeMb();
  const { status, stdout } = spawnSync('du', ['-sk', 'node_modules'], { cwd: ROOT, encoding: 'utf8' });
  return free === undefined || status !== 0 ? free : free + Math.floor(parseInt(stdout, 10) / 1024);
}

/** @returns {number | undefined} free megabytes below the checkout; `undefined` if unknown */
function freeMb() {
  const { status, stdout } = spawnSync('df', ['-Pk', ROOT], { encoding: 'utf8' });
  const free = status === 0 ? Number((stdout.trim().split('\n').pop() || '').split(/\s+/)[3]) : NaN;
  return Number.isNaN(free) ? undefined : Math.floor(free / 1024);
}

module.exports = {
  ROOT,
  PINNED_NODE,
  MACHINE,
  examine,
  pinnedNodeRuns,
  packagesAreInstalled,
  distrustPackages,
  wantedPackages,
  freeMb,
};
